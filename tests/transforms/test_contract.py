"""What every transform and every preset promises, whatever it does to the picture."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator

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
from sg_bench.transforms.bezier import BezierIntensity
from sg_bench.transforms.compose import Chain, Corruption, OneOf, Sometimes
from sg_bench.transforms.elastic import ElasticDeformation
from sg_bench.transforms.flip import Flip
from sg_bench.transforms.masking import PatchMask
from sg_bench.transforms.painting import InPainting, OutPainting
from sg_bench.transforms.presets import preset
from sg_bench.transforms.shuffle import LocalShuffle
from sg_bench.transforms.swap import PatchSwap

_MODELS, _KERAS = settings.ModelsGenesisSettings(), settings.SemanticGenesisKerasSettings()
TRANSFORMS: dict[str, Transform] = {
    "flip": Flip(_MODELS.flip),
    "bezier": BezierIntensity(_MODELS.bezier),
    "shuffle": LocalShuffle(settings.ShuffleSettings(blocks=300)),
    "elastic": ElasticDeformation(_KERAS.elastic),
    "in_painting_noise": InPainting(_MODELS.in_painting),
    "in_painting_constant": InPainting(_KERAS.in_painting),
    "out_painting_noise": OutPainting(_MODELS.out_painting),
    "out_painting_constant": OutPainting(_KERAS.out_painting),
    "patch_swap": PatchSwap(settings.PatchSwapSettings()),
    "patch_mask": PatchMask(settings.PatchMaskSettings()),
    "sometimes": Sometimes(BezierIntensity(_MODELS.bezier), 0.5),
    "one_of": OneOf({"bezier": BezierIntensity(_MODELS.bezier), "painting": InPainting(_KERAS.in_painting)}),
}
for _name in ("models_genesis", "semantic_genesis_keras", "semantic_genesis_pytorch"):
    TRANSFORMS[_name] = preset(_name, {"shuffle": {"blocks": 300}}).corruption

every = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
shapes = st.tuples(st.integers(8, 20), st.integers(8, 20), st.integers(1, 10))


def keys(count: int, seed: int = 0) -> list[tuple[int, int]]:
    return [(seed, number) for number in range(count)]


def random_images(count: int, shape: Shape, seed: int = 0, channels: int = 1) -> Tensor:
    drawn = np.random.default_rng(seed).random((count, channels, *shape), np.float32)
    return torch.from_numpy(drawn)


def global_states() -> list[str]:
    return [str(torch.get_rng_state().tolist()), pickle.dumps(np.random.get_state()).hex(), str(random.getstate())]  # noqa: NPY002


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@every
@examples(max_examples=15, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**32), channels=st.integers(1, 2))
def test_corruption_keeps_shape_type_and_range_and_leaves_the_input_alone(
    transform: Transform, shape: Shape, seed: int, channels: int
) -> None:
    images = random_images(3, shape, seed, channels)
    params = sample_batch(transform, keys(3, seed), shape)
    before, params_before = images.clone(), {key: value.clone() for key, value in params.items()}
    corrupted = transform.apply(images, params)
    assert (corrupted.shape, corrupted.dtype, corrupted.device) == (images.shape, images.dtype, images.device)
    assert 0 <= float(corrupted.min()) <= float(corrupted.max()) <= 1
    assert torch.equal(images, before)
    assert all(torch.equal(params[key], params_before[key]) for key in params)


@every
@examples(max_examples=15, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_a_batch_equals_its_samples_corrupted_alone_bit_for_bit(transform: Transform, shape: Shape, seed: int) -> None:
    images = random_images(5, shape, seed)
    params = sample_batch(transform, keys(5, seed), shape)
    together = transform.apply(images, params)
    for row in range(5):
        alone = transform.apply(images[row : row + 1], {key: value[row : row + 1] for key, value in params.items()})
        assert torch.equal(alone[0], together[row])


@every
def test_order_threads_and_batch_do_not_matter_on_the_papers_cubes(transform: Transform, two_threads: None) -> None:
    shape = (64, 64, 32)
    images, params = random_images(3, shape), sample_batch(transform, keys(3), shape)
    together = transform.apply(images, params)
    torch.set_num_threads(1)
    order = torch.tensor([2, 0, 1])
    reordered = transform.apply(images[order], {key: value[order] for key, value in params.items()})
    assert torch.equal(reordered, together[order])


@every
def test_the_same_keys_and_parameters_replay_the_same_images(transform: Transform) -> None:
    images = random_images(6, (16, 16, 8))
    first, second = (sample_batch(transform, keys(6), (16, 16, 8)) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    replayed = pickle.loads(pickle.dumps(transform)).apply(images, second)
    assert torch.equal(transform.apply(images, first), replayed)


@every
def test_no_global_generator_is_touched(transform: Transform) -> None:
    before = global_states()
    transform.apply(random_images(4, (16, 16, 8)), sample_batch(transform, keys(4), (16, 16, 8)))
    assert global_states() == before


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_stay_what_they_are(transform: Transform, dtype: torch.dtype) -> None:
    images = random_images(4, (16, 16, 8)).to(dtype)
    corrupted = transform.apply(images, sample_batch(transform, keys(4), (16, 16, 8)))
    assert corrupted.dtype == dtype
    assert 0 <= float(corrupted.min()) <= float(corrupted.max()) <= 1


@every
def test_a_cuda_device_gives_the_cpu_s_images(transform: Transform) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    images, params = random_images(6, (64, 64, 32)), sample_batch(transform, keys(6), (64, 64, 32))
    on_device = transform.apply(images.cuda(), params)
    assert on_device.is_cuda
    assert torch.allclose(on_device.cpu(), transform.apply(images, params), atol=1e-5)


def test_an_empty_batch_is_refused_with_its_reason() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        sample_batch(TRANSFORMS["flip"], [], (16, 16, 8))


def test_a_corruption_refuses_parameters_of_another_batch() -> None:
    corruption = preset("models_genesis")
    params = sample_batch(corruption, keys(3), (16, 16, 8))
    with pytest.raises(ValueError, match=r"parameters for \[3\]"):
        corruption.corrupt(random_images(4, (16, 16, 8)), params)
    with pytest.raises(ValueError, match=r"must be \(B, C, X, Y, Z\)"):
        corruption.corrupt(random_images(3, (16, 16, 8))[0], params)


def test_an_empty_chain_leaves_the_images_as_they_are() -> None:
    images = random_images(2, (8, 8, 8))
    nothing = Corruption("nothing", pose=Chain({}), corruption=Chain({}))
    inputs, targets = nothing.corrupt(images, sample_batch(nothing, keys(2), (8, 8, 8)))
    assert torch.equal(inputs, images)
    assert torch.equal(targets, images)
