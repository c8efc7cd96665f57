from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.base import Transform, sample_batch
from sg_bench.transforms.painting import InPainting, OutPainting
from sg_bench.transforms.streams import RandomStreams

PAPER = (64, 64, 32)
MODELS, KERAS, PYTORCH = (
    settings.ModelsGenesisSettings(),
    settings.SemanticGenesisKerasSettings(),
    settings.SemanticGenesisPyTorchSettings(),
)


def with_constants(config: settings.PaintingSettings) -> settings.PaintingSettings:
    """Return the settings with another filling, which takes less time than noise and leaves the boxes as they are."""
    return config.model_copy(update={"fill": "constant"})


def drawn(transform: Transform, count: int, shape: Shape = PAPER) -> dict[str, Tensor]:
    return sample_batch(transform, range(count), shape)


@pytest.mark.parametrize(
    ("transform", "low", "high"),
    [
        (InPainting(PYTORCH.in_painting), (10, 10, 5), (21, 21, 10)),
        (InPainting(MODELS.in_painting), (10, 10, 5), (21, 21, 10)),
        (InPainting(KERAS.in_painting), (10, 10, 10), (20, 20, 20)),
        (OutPainting(PYTORCH.out_painting), (28, 28, 14), (37, 37, 19)),
        (OutPainting(MODELS.out_painting), (28, 28, 14), (37, 37, 19)),
        (OutPainting(KERAS.out_painting), (44, 44, 12), (54, 54, 22)),
    ],
)
def test_boxes_have_the_official_sizes_and_positions(transform: Transform, low: Shape, high: Shape) -> None:
    params = drawn(transform, 1500)
    starts, sides = params["starts"][:, 0], params["sides"][:, 0]
    there = sides[:, 0] > 0
    assert sides[there].amin(0).tolist() == list(low)
    assert sides[there].amax(0).tolist() == list(high)
    assert starts[there].amin(0).tolist() == [3, 3, 3]
    assert (starts + sides)[there].amax(0).tolist() == [61, 61, 29]


@pytest.mark.parametrize(
    ("transform", "changed"),
    [
        (InPainting(with_constants(PYTORCH.in_painting)), 0.014),
        (InPainting(KERAS.in_painting), 0.026),
        (OutPainting(with_constants(PYTORCH.out_painting)), 1 - 0.13),
        (OutPainting(KERAS.out_painting), 1 - 0.31),
    ],
)
def test_official_sizes_paint_the_measured_share_of_a_cube(transform: Transform, changed: float) -> None:
    images = torch.full((20, 1, *PAPER), 2.0)
    shares = [
        (
            transform.apply(images, sample_batch(transform, [(seed, number) for number in range(20)], PAPER)) != 2
        ).double()
        for seed in range(8)
    ]
    assert float(torch.stack(shares).mean()) == pytest.approx(changed, rel=0.07 if changed < 0.5 else 0.012)


def test_models_genesis_paints_up_to_five_boxes() -> None:
    counts = Counter((drawn(InPainting(MODELS.in_painting), 4000)["sides"][:, :, 0] > 0).sum(1).tolist())
    expected = {number: 0.95**number * 0.05 for number in range(5)} | {5: 0.95**5}
    assert {number: counts[number] / 4000 for number in range(6)} == pytest.approx(expected, abs=0.015)
    kept = (drawn(OutPainting(MODELS.out_painting), 1000)["sides"][:, :, 0] > 0).sum(1)
    assert (int(kept.min()), int(kept.max())) == (1, 5)


def test_semantic_genesis_paints_exactly_one_box() -> None:
    for config in (PYTORCH.in_painting, PYTORCH.out_painting, KERAS.in_painting, KERAS.out_painting):
        assert drawn(InPainting(config), 50)["sides"].shape == (50, 1, 3)
        assert int(drawn(InPainting(config), 50)["sides"].min()) > 0


def test_in_painting_fills_boxes_and_out_painting_all_else() -> None:
    images = torch.full((1, 1, 16, 16, 8), 2.0)
    box = {"starts": torch.tensor([[[4, 5, 2]]]), "sides": torch.tensor([[[3, 4, 2]]]), "value": torch.tensor([0.25])}
    inside = torch.zeros(images.shape, dtype=torch.bool)
    inside[..., 4:7, 5:9, 2:4] = True
    painted = InPainting(KERAS.in_painting).apply(images, box)
    assert torch.equal(painted, torch.where(inside, 0.25, 2.0))
    assert torch.equal(OutPainting(KERAS.out_painting).apply(images, box), torch.where(inside, 2.0, 0.25))


@pytest.mark.parametrize("fill", ["noise", "constant"])
def test_noise_differs_from_voxel_to_voxel_and_a_constant_only_from_image_to_image(fill: str) -> None:
    config = PYTORCH.in_painting if fill == "noise" else KERAS.in_painting
    images = torch.full((30, 1, *PAPER), 2.0)
    painted = InPainting(config).apply(images, drawn(InPainting(config), 30))
    filled = [image[image != 2] for image in painted]
    assert all((len(values.unique()) == 1) == (fill == "constant") for values in filled)
    assert len({float(values[0]) for values in filled}) == 30
    assert float(torch.stack([values.mean() for values in filled]).mean()) == pytest.approx(0.5, abs=0.15)


@examples(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40)),
    config=st.sampled_from([MODELS.in_painting, MODELS.out_painting, KERAS.in_painting, KERAS.out_painting]),
    keep=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_boxes_fit_every_image_with_as_much_border_as_fits(
    shape: Shape, config: settings.PaintingSettings, keep: bool, seed: int
) -> None:
    params = (OutPainting if keep else InPainting)(config).sample(RandomStreams([seed]), shape)
    for start, side in zip(params["starts"][0], params["sides"][0], strict=True):
        border = np.minimum(3, (np.array(shape) - side) // 2) * (side > 0)
        assert (start >= border).all()
        assert (start + side <= np.array(shape) - border).all()
        assert (side > 0).all() or not side.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sides": {"plane": ["1/3", "1/6"], "depth": ["1/6", "1/3"]}}, "low <= high <= 1"),
        ({"sides": {"plane": ["0.1", "1/6"], "depth": ["1/6", "1/3"]}}, "pattern"),
        ({"least": 3, "most": 2}, "least is 3 and most is 2"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.PaintingSettings.model_validate({"sides": settings.SIXTH_TO_THIRD, **changes})
