from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from sg_bench.config import Shape
from sg_bench.transforms import settings
from sg_bench.transforms.elastic import ElasticDeformation

PAPER = (64, 64, 32)
ELASTIC = ElasticDeformation(settings.ElasticSettings())


def test_official_settings_move_voxels_as_far_as_measured() -> None:
    moved = torch.cat([ELASTIC.displacement(torch.arange(first, first + 10), PAPER) for first in range(0, 60, 10)])
    assert float(moved.std()) == pytest.approx(3.3, abs=0.25)
    assert float(moved.abs().amax((2, 3, 4)).mean()) == pytest.approx(9.7, abs=0.6)
    assert abs(float(moved.mean())) < 0.25


def test_displacement_is_distributed_as_scipys_gaussian_of_uniform_noise() -> None:
    shape = (32, 24, 16)
    elastic = ElasticDeformation(settings.ElasticSettings(sigma=4, reference_side=None))
    ours = elastic.displacement(torch.arange(400), shape)[:, 0].double().numpy()
    rng = np.random.default_rng(0)
    theirs = 991 * np.stack(
        [ndimage.gaussian_filter(rng.uniform(-1, 1, shape), 4, mode="constant", cval=0) for _ in range(400)]
    )
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
    for inside in (np.s_[:, 12:20, 8:16, 6:10], np.s_[:, :3, :3, :3]):  # edges move less
        assert ours[inside].std() == pytest.approx(theirs[inside].std(), rel=0.06)
    for axis, lag in itertools.product((1, 2, 3), (2, 6)):
        found = [_correlation(field, axis, lag) for field in (ours, theirs)]
        assert found[0] == pytest.approx(found[1], abs=0.03)


def _correlation(fields: NDArray[np.float64], axis: int, lag: int) -> float:
    """Return the correlation of displacements that are `lag` voxels apart along an axis."""
    near = np.arange(fields.shape[axis] - lag)
    one, other = (np.take(fields, near + shift, axis).ravel() for shift in (0, lag))
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("shape", [(32, 32, 16), (24, 32, 8), (33, 17, 5)])
def test_deforming_is_scipys_linear_interpolation_with_mirrored_edges(shape: Shape) -> None:
    elastic = ElasticDeformation(settings.ElasticSettings(alpha=3000))
    image = np.random.default_rng(0).random(shape, np.float32)
    moved = elastic.displacement(torch.tensor([3]), shape)[0].numpy()
    x, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij")
    expected = ndimage.map_coordinates(image, (x + moved[0], y + moved[1], z), order=1, mode="reflect")
    ours = elastic.apply(torch.from_numpy(image)[None, None], {"seed": torch.tensor([3])})[0, 0].numpy()
    assert np.abs(moved).max() > 3
    assert ours == pytest.approx(expected, abs=1e-4)


def test_no_voxel_moves_along_z() -> None:
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 32, 24, 16)
    assert torch.allclose(ELASTIC.apply(ramp, {"seed": torch.tensor([1])}), ramp, atol=1e-6)


def test_smaller_patches_move_by_the_same_share_of_their_side() -> None:
    shares = []
    for side in (16, 32, 64):
        seeds = torch.arange(30 if side == 64 else 120)
        shares.append(float(ELASTIC.displacement(seeds, (side, side, side // 2)).std()) / side)
    assert shares == pytest.approx([3.3 / 64] * 3, rel=0.1)


def test_without_a_reference_side_alpha_and_sigma_hold_as_they_stand() -> None:
    seeds = torch.arange(2)
    fixed = ElasticDeformation(settings.ElasticSettings(reference_side=None))
    assert torch.equal(fixed.displacement(seeds, PAPER), ELASTIC.displacement(seeds, PAPER))
    assert float(fixed.displacement(seeds, (16, 16, 8)).std()) < float(fixed.displacement(seeds, PAPER).std())


def test_a_field_does_not_depend_on_the_others_of_its_batch() -> None:
    seeds = torch.arange(6)
    together = ELASTIC.displacement(seeds, (48, 40, 20))
    alone = torch.cat([ELASTIC.displacement(seed, (48, 40, 20)) for seed in seeds[:, None]])
    assert torch.equal(together, alone)
