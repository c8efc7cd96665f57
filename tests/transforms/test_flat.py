"""Films and slices are images with Z = 1: every transform treats them as it treats the papers' cubes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from sg_bench.config import Shape
from sg_bench.methods.configs import ModelsGenesisConfig, SemanticGenesisConfig
from sg_bench.transforms import settings
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.bezier import BezierIntensity
from sg_bench.transforms.compose import Corruption
from sg_bench.transforms.elastic import ElasticDeformation
from sg_bench.transforms.painting import InPainting, OutPainting
from sg_bench.transforms.presets import preset
from sg_bench.transforms.shuffle import LocalShuffle
from sg_bench.transforms.streams import RandomStreams

SMALL, PAPER = (64, 64, 1), (224, 224, 1)
CUBE = (64, 64, 32)
both = pytest.mark.parametrize("shape", [SMALL, PAPER], ids=["64", "224"])
ELASTIC = ElasticDeformation(settings.ElasticSettings())


def films(shape: Shape, count: int = 4) -> Tensor:
    """Return films with a smooth gradient and a little noise."""
    x, y, z = np.indices(shape)
    smooth = (x / shape[0] + y / shape[1]) / 2.2 + 0 * z
    noise = np.random.default_rng(1).random((count, 1, *shape)) * 0.05
    return torch.from_numpy((smooth + noise).astype(np.float32))


def presets() -> dict[str, Corruption]:
    models, semantic = ModelsGenesisConfig(dimension=2), SemanticGenesisConfig(dimension=2)
    return {
        "models_genesis": preset("models_genesis", models.transforms),
        "semantic_genesis_keras": preset("semantic_genesis_keras", semantic.transforms.model_dump()),
        "semantic_genesis_pytorch": preset("semantic_genesis_pytorch"),
    }


@both
@pytest.mark.parametrize("name", presets())
def test_every_preset_corrupts_films_within_range_and_each_as_it_would_alone(name: str, shape: Shape) -> None:
    corruption, images = presets()[name], films(shape)
    params = sample_batch(corruption, range(4), shape)
    inputs, targets = corruption.corrupt(images, params)
    assert inputs.shape == targets.shape == images.shape
    assert 0 <= inputs.min() <= inputs.max() <= 1
    assert (inputs != targets).flatten(1).any(1).sum() >= 3
    alone = corruption.corrupt(images[1:2], {key: value[1:2] for key, value in params.items()})[0]
    assert torch.equal(alone, inputs[1:2])


@pytest.mark.parametrize(
    ("shape", "count"), [(SMALL, 300), ((128, 128, 1), 100), (PAPER, 60)], ids=["64", "128", "224"]
)
def test_films_deform_by_the_share_of_their_side_that_cubes_do(shape: Shape, count: int) -> None:
    film = float(ELASTIC.displacement(torch.arange(count), shape).std()) / shape[0]
    assert film == pytest.approx(displacement_of_cubes(), rel=0.06)


@cache
def displacement_of_cubes() -> float:
    """Return the standard deviation in 40 cubes, in shares of their side."""
    return float(torch.cat([ELASTIC.displacement(torch.arange(n, n + 10), CUBE) for n in range(0, 40, 10)]).std()) / 64


def test_the_displacement_of_a_film_is_smooth_along_both_axes_alike() -> None:
    moved = ELASTIC.displacement(torch.arange(200), SMALL)[..., 8:-8, 8:-8, 0]
    steps = [float(moved.diff(dim=axis).std() / moved.std()) for axis in (2, 3)]
    assert steps == pytest.approx([1 / (8 * 2**0.5)] * 2, rel=0.1)  # of white noise smoothed with sigma 8


@both
def test_boxes_of_films_reach_through_them_and_have_the_shares_of_the_settings(shape: Shape) -> None:
    side = shape[0]
    for kind, sides, low, high in (
        (InPainting, settings.SIXTH_TO_THIRD, side // 6, side // 3),
        (InPainting, settings.TEN_TO_TWENTY_VOXELS, 10 * side // 64, 20 * side // 64),
        (OutPainting, settings.THREE_TO_FOUR_SEVENTHS, side - 4 * side // 7, side - 3 * side // 7),
    ):
        painting = kind(settings.PaintingSettings(sides=sides))
        drawn = painting.sample(RandomStreams(range(400)), shape)
        lengths, starts = drawn["sides"][:, 0], drawn["starts"][:, 0]
        assert (lengths[:, 2].tolist(), starts[:, 2].tolist()) == ([1] * 400, [0] * 400)
        assert low <= lengths[:, :2].min() <= low + 1
        assert high - 1 <= lengths[:, :2].max() <= high
        assert starts[:, :2].min() >= 3
        assert (starts + lengths)[:, :2].max() <= side - 3


@both
def test_blocks_of_films_are_1_to_a_tenth_of_their_side_and_one_voxel_deep(shape: Shape) -> None:
    sides = LocalShuffle(settings.ShuffleSettings(blocks=3000)).blocks(5, shape)[:, 3:]
    assert sides.min(axis=0).tolist() == [1, 1, 1]
    assert sides.max(axis=0).tolist() == [shape[0] // 10, shape[1] // 10, 1]


@both
def test_models_genesis_shuffles_as_large_a_part_of_a_film_as_of_a_cube(shape: Shape) -> None:
    def changed(blocks: int, shape: Shape) -> float:
        shuffle = LocalShuffle(settings.ShuffleSettings(blocks=blocks))
        found = [shuffle.sources(seed, shape) for seed in range(6)]
        return float(np.mean([(source != np.arange(len(source))).mean() for source in found]))

    film = changed(ModelsGenesisConfig(dimension=2).transforms.shuffle.blocks, shape)
    assert film == pytest.approx(changed(10_000, CUBE), abs=0.04)


@both
def test_the_non_linear_map_is_one_map_for_the_whole_film(shape: Shape) -> None:
    bezier, images = BezierIntensity(settings.BezierSettings()), films(shape, 2)
    mapped = bezier.apply(images, sample_batch(bezier, range(2), shape))
    for before, after in zip(images.flatten(1), mapped.flatten(1), strict=True):
        rises = after[before.argsort()].diff()
        assert (rises >= -1e-6).all() or (rises <= 1e-6).all()
