from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from sg_bench.transforms import settings
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.bezier import BezierIntensity

unit = st.floats(0, 1)
pairs = st.lists(st.lists(unit, min_size=2, max_size=2), min_size=2, max_size=2)


def mapped(values: NDArray[np.float32], points: list[list[float]], *, inverted: bool) -> NDArray[np.float32]:
    params = {"points": torch.tensor([points], dtype=torch.float64), "inverted": torch.tensor([inverted])}
    images = torch.from_numpy(values).view(1, 1, -1, 1, 1)
    result: NDArray[np.float32] = BezierIntensity(settings.BezierSettings()).apply(images, params).flatten().numpy()
    return result


def exact(values: NDArray[np.float32], points: list[list[float]], *, inverted: bool) -> NDArray[np.float64]:
    """The official way: 100 000 points from (1, 1) to (0, 0), of which both or only the x are sorted."""
    t = np.linspace(1, 0, 100_000)
    x, y = (3 * t * (1 - t) ** 2 * points[0][k] + 3 * t**2 * (1 - t) * points[1][k] + t**3 for k in range(2))
    return np.interp(values, np.sort(x), y if inverted else np.sort(y))


@examples(max_examples=60, deadline=None)
@given(points=pairs, inverted=st.booleans())
def test_the_map_is_the_bezier_curve_of_its_points(points: list[list[float]], inverted: bool) -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    difference = mapped(values, points, inverted=inverted) - exact(values, points, inverted=inverted)
    assert np.abs(difference).max() < 1e-4


@examples(max_examples=60, deadline=None)
@given(points=pairs, inverted=st.booleans())
def test_the_map_is_monotone_from_end_to_end(points: list[list[float]], inverted: bool) -> None:
    ours = mapped(np.linspace(0, 1, 501, dtype=np.float32), points, inverted=inverted)
    steps = np.diff(ours) * (-1 if inverted else 1)
    assert steps.min() >= -1e-6
    assert (ours[0], ours[-1]) == ((1, 0) if inverted else (0, 1))


def test_control_points_on_the_diagonal_change_nothing() -> None:
    values = np.linspace(0, 1, 500, dtype=np.float32)
    assert mapped(values, [[1 / 3, 1 / 3], [2 / 3, 2 / 3]], inverted=False) == pytest.approx(values, abs=1e-6)


def test_half_of_all_maps_are_inverted() -> None:
    params = sample_batch(BezierIntensity(settings.BezierSettings()), range(10_000), (4, 4, 4))
    inverted: Tensor = params["inverted"]
    assert float(inverted.double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(params["points"].mean()) == pytest.approx(0.5, abs=0.02)
