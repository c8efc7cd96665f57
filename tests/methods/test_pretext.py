"""What the methods of the papers' tables promise in two and three dimensions, each with and without semantics."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sg_bench.config import CropRule, Shape
from sg_bench.methods.base import Batch, Crops, Method, Patterns
from sg_bench.networks.build import encoder, unet
from sg_bench.networks.weights import load_into
from sg_bench.registry import METHODS
from sg_bench.training.loop import weighted_loss
from sg_bench.training.pretraining import fresh_network
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams

ALONE = ["inpainting", "masked_autoencoder", "patch_shuffling", "rotation", "rubiks_cube"]
ABLATIONS = ["self_classification", "self_restoration"]
WITH = [f"{name}+semantics" for name in (*ALONE, "autoencoder", "models_genesis")]
NO_DECODER = ("rotation", "rubiks_cube", "self_classification")
RESTORE = ("inpainting", "patch_shuffling", "self_restoration", "models_genesis", "autoencoder")
SHAPES: dict[int, Shape] = {3: (16, 16, 16), 2: (64, 64, 1)}
CLASSES = 3
SMALL: dict[str, dict[str, Any]] = {
    "rubiks_cube": {"cube": {"permutations": 6}},
    "models_genesis": {"transforms": {"shuffle": {"blocks": 100, "side_divisor": 4}}},
}
EVERY = [
    (name, dimension)
    for name in (*ALONE, *ABLATIONS, *WITH)
    for dimension in (3, 2)
    if dimension in METHODS.config(name).dimensions  # type: ignore[attr-defined]
]
every = pytest.mark.parametrize(("name", "dimension"), EVERY)


def small(name: str, dimension: int, **settings: Any) -> Method:
    given = {"dimension": dimension, "width": 2 if dimension == 3 else 1, **SMALL.get(name.partition("+")[0], {})}
    config: Any = METHODS.config(name).model_validate({**given, **settings})
    method: Method = METHODS.load(name)(config, CLASSES if "patterns" in config.needs else 0)
    return method


@cache
def images(dimension: int, count: int = 6) -> Tensor:
    """Return images in which all directions look different, with a bright spot in a place of its own for each class."""
    shape = SHAPES[dimension]
    x, y, z = (axis / max(axis.max(), 1) for axis in np.indices(shape))
    out = np.random.default_rng(0).random((count, *shape)) * 0.05 + 0.4 * x + 0.2 * y**2 + 0.1 * z
    for number, image in enumerate(out):
        centre = [(0.2, 0.3, 0.2), (0.7, 0.3, 0.8), (0.3, 0.8, 0.5)][number % CLASSES]
        image[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 * (dimension == 3) < 0.04] = 0.95
    return torch.from_numpy(out.astype(np.float32))[:, None]


def labels(count: int = 6) -> Tensor:
    return torch.arange(count) % CLASSES


def made(method: Method, seed: int = 0) -> Batch:
    dimension = method.config.dimension
    keys = [(seed, place) for place in range(6)]
    params = as_tensors(method.sample_params(RandomStreams(keys), SHAPES[dimension]))
    return method.make_batch(images(dimension), labels(), params)


def parts(batch: Batch) -> list[Tensor]:
    return [batch.inputs, batch.targets, batch.labels, *batch.answers.values()]


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(parts(one), parts(other), strict=True))


def global_states() -> list[str]:
    return [str(random.getstate()), str(np.random.get_state(legacy=True)), str(torch.get_rng_state().tolist())]  # noqa: NPY002


class TestBatches:
    @every
    def test_the_same_generators_make_the_same_batch_and_others_another(self, name: str, dimension: int) -> None:
        method = small(name, dimension)
        assert equal(made(method), made(method))
        assert equal(made(method), made(method, seed=1)) == (name == "autoencoder+semantics")

    @every
    def test_parameters_replay_a_batch_in_another_order(self, name: str, dimension: int) -> None:
        method, order = small(name, dimension), torch.tensor([4, 1, 0])
        keys = [(0, place) for place in range(6)]
        params = as_tensors(method.sample_params(RandomStreams(keys), SHAPES[dimension]))
        whole = method.make_batch(images(dimension), labels(), params)
        some = {key: value[order] for key, value in params.items()}
        chosen = method.make_batch(images(dimension)[order], labels()[order], some)
        assert all(torch.equal(a, b[order]) for a, b in zip(parts(chosen), parts(whole), strict=True))

    @every
    def test_images_labels_and_global_random_numbers_are_left_alone(self, name: str, dimension: int) -> None:
        method, before, states = small(name, dimension), images(dimension).clone(), global_states()
        batch = made(method)
        assert torch.equal(images(dimension), before)
        assert torch.equal(batch.labels, labels())
        assert 0 <= batch.inputs.min() <= batch.inputs.max() <= 1
        assert global_states() == states


class TestTraining:
    @every
    def test_every_term_falls_in_eighteen_steps_on_one_batch(self, name: str, dimension: int) -> None:
        method = small(name, dimension)
        network, batch, stage = fresh_network(method, 0).train(), made(method), method.stages()[-1]
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        states, found = global_states(), []
        for _ in range(18):
            optimiser.zero_grad()
            losses = method.losses(network, batch, stage)
            weighted_loss(losses, stage).backward()
            optimiser.step()
            found.append({term: value.item() for term, value in losses.terms.items()})
        assert np.isfinite([list(terms.values()) for terms in found]).all()
        assert found[0].keys() == stage.weights.keys()
        for term in found[0]:
            if stage.weights[term] >= 0.1:
                assert found[-1][term] < 0.8 * found[0][term], term
        assert global_states() == states

    @every
    def test_it_hands_over_a_whole_encoder_and_the_decoder_that_it_trained(self, name: str, dimension: int) -> None:
        method = small(name, dimension)
        handed, decoder = method.initialisation(fresh_network(method, 0))
        assert handed.keys() == encoder(method.config.chosen_network).state_dict().keys()
        report = load_into(unet(method.config.chosen_network), handed, decoder, need_decoder=True)
        assert report.decoder == ("random" if name.startswith(NO_DECODER) else "loaded")
        assert not report.unused

    @every
    def test_methods_that_share_layers_start_from_the_same_weights(self, name: str, dimension: int) -> None:
        method, scratch = small(name, dimension), small("scratch", dimension)
        mine = method.initialisation(fresh_network(method, 7))[0]
        theirs = scratch.initialisation(fresh_network(scratch, 7))[0]
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())

    @every
    def test_what_it_restores_is_an_image_in_range(self, name: str, dimension: int) -> None:
        method = small(name, dimension)
        restored = method.restored(fresh_network(method, 0).eval(), images(dimension))
        assert (restored is not None) == name.startswith(RESTORE)
        if restored is not None:
            assert restored.shape == images(dimension).shape
            assert 0 <= restored.min() <= restored.max() <= 1


class TestPublishedSettings:
    @pytest.mark.parametrize("name", ALONE)
    def test_pretext_methods_are_trained_as_models_genesis_but_by_adam(self, name: str) -> None:
        training, other = (METHODS.config(each)().training for each in (name, "models_genesis"))  # type: ignore[attr-defined]
        assert (training.optimiser.name, training.optimiser.lr) == ("adam", 1e-3)
        assert training.model_copy(update={"optimiser": other.optimiser}) == other

    def test_crops_are_those_of_models_genesis_but_for_rubiks_windows(self) -> None:
        for name in ALONE:
            config: Any = METHODS.config(name)()
            cube = (128, 128, 64) if name == "rubiks_cube" else (64, 64, 32)
            assert METHODS.load(name)(config).sampling() == Crops(CropRule(cube=cube), 32)

    def test_films_have_crops_and_patches_of_their_own(self) -> None:
        films = {name: METHODS.config(name).model_validate({"dimension": 2}) for name in ALONE if name != "rubiks_cube"}
        rule = CropRule(cube=(224, 224, 1), border=(0, 0, 0), air=None)
        assert all(METHODS.load(name)(config).sampling() == Crops(rule, 1) for name, config in films.items())
        shuffling: Any = films["patch_shuffling"]
        masked: Any = films["masked_autoencoder"]
        assert (shuffling.patch_swap.patch, shuffling.patch_swap.swaps) == ((8, 8, 1), 10)
        assert (masked.mask.patch, masked.mask.ratio) == (32, 0.6)

    def test_rubiks_cube_is_for_volumes_only(self) -> None:
        with pytest.raises(ValueError, match="no 2D version"):
            METHODS.config("rubiks_cube").model_validate({"dimension": 2})

    def test_a_rubiks_window_of_the_papers_gives_sub_cubes_of_48_48_and_24_voxels(self) -> None:
        method: Any = METHODS.load("rubiks_cube")(METHODS.config("rubiks_cube")())
        assert method.cube.piece(method.config.crops.cube) == (48, 48, 24)

    @pytest.mark.parametrize("name", ABLATIONS)
    def test_the_ablations_share_semantic_genesis_recipe_and_crops(self, name: str) -> None:
        whole: Any = METHODS.config("semantic_genesis")
        part: Any = METHODS.config(name)
        assert part().model_dump() == whole().model_dump()
        assert part.needs == whole.needs
        assert small(name, 3).sampling() == Patterns()
        assert equal(made(small(name, 3)), made(small("semantic_genesis", 3)))

    def test_an_ablation_has_no_warm_up_that_could_use_up_its_epochs(self) -> None:
        for name in ABLATIONS:
            (stage,) = small(name, 3, training={"epochs": 5}).stages()
            assert stage.training.epochs == 5
