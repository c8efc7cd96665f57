"""Every built-in method on films: its defaults there, its network, and that it learns, resumes and hands over."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sg_bench.config import CropRule, Shape, canonical_json
from sg_bench.data.cubes import ArrayCubes
from sg_bench.methods.autoencoder import latent, latent_encoder
from sg_bench.methods.base import Crops, Method, WholeVolumes
from sg_bench.methods.configs import AutoencoderConfig, MethodConfig, ModelsGenesisConfig, SemanticGenesisConfig
from sg_bench.networks.resnet import Encoder2D, UNet2D, YNet2D
from sg_bench.networks.unet import Encoder3D
from sg_bench.networks.weights import load_into
from sg_bench.registry import METHODS
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.pretraining import Pretraining, fresh_network, restoration_examples
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams

BUILT_IN = ["autoencoder", "models_genesis", "scratch", "semantic_genesis"]
SHAPE: Shape = (64, 64, 1)
CLASSES = 3
WARM_UP: dict[str, dict[str, Any]] = {"semantic_genesis": {"semantics": {"warm_up_epochs": 2}}}
every = pytest.mark.parametrize("name", BUILT_IN)
trained = pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "scratch"])


def small(name: str, **settings: Any) -> Method:
    config = METHODS.config(name).model_validate({"dimension": 2, "width": 1, **WARM_UP.get(name, {}), **settings})
    method: Method = METHODS.load(name)(config, CLASSES if name == "semantic_genesis" else 0)
    return method


@cache
def films(count: int = 6) -> Tensor:
    """Return two dark lungs in a bright chest, with an opacity in a place of its own for each class."""
    x, y, z = np.indices(SHAPE)
    out = np.random.default_rng(0).random((count, *SHAPE)) * 0.05 + 0.6 + 0 * z
    for number, image in enumerate(out):
        for centre in (18, 46):
            image[((x - centre) / 11) ** 2 + ((y - 32) / 22) ** 2 < 1] = 0.2
        centre_x, centre_y = [(18, 20), (46, 44), (18, 44)][number % CLASSES]
        image[(x - centre_x) ** 2 + (y - centre_y) ** 2 < 40] = 0.9
    return torch.from_numpy(out.astype(np.float32))[:, None]


def learner(name: str, seed: int = 0, **settings: Any) -> Pretraining:
    training = {"batch_size": 3, "epochs": 4, "norm_eval": "batch", **settings.pop("training", {})}
    method = small(name, training=training, **settings)
    cubes = ArrayCubes(films()[:, 0].numpy(), np.arange(6) % CLASSES)
    return Pretraining(method, fresh_network(method, seed), cubes, cubes, torch.device("cpu"))


class TestDefaults:
    def test_the_papers_input_is_224_pixels_square_without_borders_or_air(self) -> None:
        config = ModelsGenesisConfig(dimension=2)
        rule = CropRule(cube=(224, 224, 1), border=(0, 0, 0), air=None)
        assert METHODS.load("models_genesis")(config).sampling() == Crops(rule, 1)
        assert METHODS.load("autoencoder")(AutoencoderConfig(dimension=2)).sampling() == WholeVolumes((224, 224, 1))

    def test_whatever_is_not_said_of_films_is_as_for_volumes(self) -> None:
        for kind in (ModelsGenesisConfig, SemanticGenesisConfig):
            flat, deep = kind(dimension=2), kind()
            assert flat.training == deep.training
            assert flat.transforms.bezier == deep.transforms.bezier

    def test_defaults_of_volumes_are_not_touched(self) -> None:
        assert ModelsGenesisConfig().crops == CropRule()
        assert ModelsGenesisConfig().transforms.shuffle.blocks == 10_000

    def test_what_is_given_lies_over_the_films_defaults_and_keeps_the_rest_of_them(self) -> None:
        given = {"dimension": 2, "crops": {"cube": (64, 64, 1)}, "transforms": {"shuffle": {"side_divisor": 8}}}
        config = ModelsGenesisConfig.model_validate(given)
        assert (config.crops.cube, config.crops.border, config.crops.air) == ((64, 64, 1), (0, 0, 0), None)
        assert (config.transforms.shuffle.blocks, config.transforms.shuffle.side_divisor) == (700, 8)
        assert config.transforms.in_painting.most == 5

    def test_a_preset_is_chosen_in_two_dimensions_too(self) -> None:
        config = SemanticGenesisConfig.model_validate({"dimension": 2, "preset": "semantic_genesis_pytorch"})
        assert config.transforms.in_painting.fill == "noise"

    def test_a_subclass_may_lay_settings_of_films_beneath_a_preset(self) -> None:
        class Plugin(SemanticGenesisConfig):
            flat = {"transforms": {"shuffle": {"blocks": 9}}}

        assert Plugin(dimension=2).transforms.shuffle.blocks == 9
        shuffle = Plugin.model_validate(
            {"dimension": 2, "transforms": {"shuffle": {"side_floor": 3}}}
        ).transforms.shuffle
        assert (shuffle.blocks, shuffle.side_floor) == (9, 3)
        assert Plugin().transforms.shuffle.blocks == 5

    def test_a_method_without_a_2d_version_refuses(self) -> None:
        class Deep(MethodConfig):
            dimensions = frozenset({3})

        with pytest.raises(ValueError, match=r"no 2D version, only \[3\]"):
            Deep(dimension=2)
        assert Deep().dimension == 3

    @every
    def test_its_config_survives_json_and_differs_from_that_of_volumes(self, name: str) -> None:
        kind = METHODS.config(name)
        config = kind.model_validate({"dimension": 2})
        again = kind.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
        assert canonical_json(again) == canonical_json(config) != canonical_json(kind())


class TestNetworks:
    @every
    def test_it_hands_over_the_2d_networks_encoder_and_decoder(self, name: str) -> None:
        method = small(name)
        encoder, decoder = method.initialisation(fresh_network(method, 0))
        assert encoder.keys() == Encoder2D(1).state_dict().keys()
        assert load_into(UNet2D(1), encoder, decoder, need_decoder=True).decoder == "loaded"

    def test_methods_that_share_layers_start_from_the_same_weights(self) -> None:
        wanted = fresh_network(small("scratch"), 5).state_dict()
        found = fresh_network(small("semantic_genesis"), 5).state_dict()
        assert wanted.keys() < found.keys()
        assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())

    def test_semantic_genesis_tells_as_many_patterns_apart_as_there_are(self) -> None:
        network = small("semantic_genesis").network()
        assert isinstance(network, YNet2D)
        assert network.clc_out.fc1.out_features == CLASSES


class TestTraining:
    @trained
    def test_its_loss_is_finite_and_falls_on_one_batch(self, name: str) -> None:
        method = small(name)
        keys = [(0, place) for place in range(6)]
        params = as_tensors(method.sample_params(RandomStreams(keys), SHAPE))
        batch = method.make_batch(films(), torch.arange(6) % CLASSES, params)
        network, stage = fresh_network(method, 0).train(), method.stages()[-1]
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        found = []
        for _ in range(16):
            optimiser.zero_grad()
            losses = method.losses(network, batch, stage)
            loss = weighted_loss(losses, stage)
            loss.backward()
            optimiser.step()
            found.append({"loss": loss.item(), **{term: value.item() for term, value in losses.terms.items()}})
        assert np.isfinite([list(terms.values()) for terms in found]).all()
        for term in found[0]:
            assert found[-1][term] < 0.7 * found[0][term]

    def test_models_genesis_own_optimiser_does_not_diverge_on_films(self) -> None:
        rows = train(learner("models_genesis", training={"steps_per_epoch": 4}), seed=0)
        losses = [row["train"]["loss"] for row in rows]
        assert rows[0]["lr"] == 1
        assert losses[-1] < losses[0]

    @trained
    def test_a_training_that_stopped_ends_as_one_that_did_not_bit_for_bit(self, name: str, tmp_path: Path) -> None:
        class StoppedError(Exception):
            pass

        def stop(done: int, total: int | None) -> None:
            if done == 5:
                raise StoppedError

        whole, resumed = learner(name), learner(name, seed=3)
        curves = train(whole, seed=7)
        with pytest.raises(StoppedError):
            train(learner(name), seed=7, folder=tmp_path, progress=stop, checkpoint_seconds=0)
        assert train(resumed, seed=7, folder=tmp_path, checkpoint_seconds=0) == curves  # from the checkpoint alone
        for key, tensor in whole.network.state_dict().items():
            assert torch.equal(tensor, resumed.network.state_dict()[key]), key

    @trained
    def test_examples_of_films_are_their_only_slice(self, name: str) -> None:
        one = learner(name)
        examples = restoration_examples(one, 0)
        assert {part: found.shape for part, found in examples.items()} == dict.fromkeys(
            ("inputs", "outputs", "targets"), (6, 64, 64)
        )
        if name != "models_genesis":  # which mirrors its targets
            np.testing.assert_array_equal(examples["targets"], films()[:, 0, :, :, 0].numpy())


class TestLatents:
    def test_a_films_latent_is_the_bottleneck_averaged_over_places(self) -> None:
        method = small("autoencoder")
        network = latent_encoder(method.config).eval()
        assert isinstance(network, Encoder2D)
        load_into(network, *method.initialisation(fresh_network(method, 0)), need_decoder=False)
        found = latent(network, films()[:1])
        assert (found.shape, found.dtype.name) == ((16,), "float32")
        with torch.no_grad():
            wanted = network.features(films()[:1])[-1].mean(dim=(2, 3))[0]
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)

    def test_volumes_are_the_default(self) -> None:
        assert isinstance(latent_encoder(AutoencoderConfig(width=2)), Encoder3D)
