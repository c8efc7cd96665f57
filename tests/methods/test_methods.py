"""What every built-in method promises, and what Semantic Genesis promises besides."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage, Training, canonical_json
from sg_bench.data.cubes import ArrayCubes
from sg_bench.errors import MethodError
from sg_bench.methods.autoencoder import Autoencoder, latent
from sg_bench.methods.base import Batch, Crops, Method, Patterns, WholeVolumes
from sg_bench.methods.configs import MethodConfig, ModelsGenesisConfig, SemanticGenesisConfig, SemanticsConfig
from sg_bench.methods.semantics import semantic_losses, semantic_stages
from sg_bench.networks.unet import UNet3D, YNet3D
from sg_bench.registry import METHODS
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.pretraining import Pretraining, fresh_network
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams

BUILT_IN = ["autoencoder", "models_genesis", "scratch", "semantic_genesis"]
TRAINED = [name for name in BUILT_IN if name != "scratch"]
SHAPE: Shape = (16, 16, 8)
CLASSES = 3
SMALL: dict[str, dict[str, Any]] = {
    "models_genesis": {"transforms": {"shuffle": {"blocks": 100, "side_divisor": 4}}},
    "semantic_genesis": {"semantics": {"warm_up_epochs": 2}},
}
every = pytest.mark.parametrize("name", BUILT_IN)
trained = pytest.mark.parametrize("name", TRAINED)


def small(name: str, **settings: Any) -> Method:
    config = METHODS.config(name).model_validate({"width": 2, **SMALL.get(name, {}), **settings})
    method: Method = METHODS.load(name)(config, CLASSES if name == "semantic_genesis" else 0)
    return method


@cache
def scans(count: int = 6) -> Tensor:
    """Return phantom-like cubes: lung, a chest wall, a nodule in a place of its own for each class."""
    x, y, z = np.indices(SHAPE)
    out = np.random.default_rng(0).random((count, *SHAPE)) * 0.1 + 0.1
    for number, image in enumerate(out):
        image[x < 4] = 0.55
        centre = [(8, 4, 4), (11, 10, 2), (8, 12, 6)][number % CLASSES]
        image[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < 7] = 0.9
    return torch.from_numpy(out.astype(np.float32))[:, None]


def labels(count: int = 6) -> Tensor:
    return torch.arange(count) % CLASSES


def made(method: Method, seed: int = 0) -> Batch:
    keys = [(seed, place) for place in range(len(scans()))]
    return method.make_batch(scans(), labels(), as_tensors(method.sample_params(RandomStreams(keys), SHAPE)))


def learner(name: str, **settings: Any) -> Pretraining:
    training = {"batch_size": 3, "epochs": 4, "norm_eval": "batch", **settings.pop("training", {})}
    method = small(name, training=training, **settings)
    cubes = ArrayCubes(scans()[:, 0].numpy(), labels().numpy())
    return Pretraining(method, fresh_network(method, 0), cubes, cubes, torch.device("cpu"))


def weights(network: nn.Module, *prefixes: str) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in network.named_parameters() if n.startswith(prefixes)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[bool]:
    return [torch.equal(tensor, other[name]) for name, tensor in one.items()]


class TestEveryMethod:
    @every
    def test_its_config_survives_json(self, name: str) -> None:
        kind = METHODS.config(name)
        for config in (kind(), small(name).config):
            again = kind.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
            assert again.model_dump() == config.model_dump()
            assert canonical_json(again) == canonical_json(config)

    @every
    def test_its_config_knows_no_other_settings(self, name: str) -> None:
        with pytest.raises(ValueError, match="Extra inputs"):
            METHODS.config(name).model_validate({"widht": 4})

    @every
    def test_its_config_extends_that_of_all_methods(self, name: str) -> None:
        assert issubclass(METHODS.config(name), MethodConfig)

    @every
    def test_it_hands_over_an_encoder_and_a_decoder_under_the_published_names(self, name: str) -> None:
        method = small(name)
        encoder, decoder = method.initialisation(method.network())
        wanted = UNet3D(2).state_dict()
        assert {**encoder, **decoder}.keys() == wanted.keys()
        assert all(key.startswith("down_tr") for key in encoder)
        assert all(key.startswith(("up_tr", "out_tr")) for key in decoder)
        assert {key: tensor.shape for key, tensor in {**encoder, **decoder}.items()} == {
            key: tensor.shape for key, tensor in wanted.items()
        }

    @every
    def test_the_same_parameters_make_the_same_batch_bit_for_bit(self, name: str) -> None:
        method = small(name)
        one, again, other = made(method), made(method), made(method, seed=1)
        assert torch.equal(one.inputs, again.inputs)
        assert torch.equal(one.targets, again.targets)
        assert torch.equal(one.labels, labels())
        assert torch.equal(one.inputs, other.inputs) == (name in ("scratch", "autoencoder"))

    @every
    def test_making_a_batch_leaves_the_images_as_they_were(self, name: str) -> None:
        before = scans().clone()
        batch = made(small(name))
        assert torch.equal(scans(), before)
        assert batch.inputs.shape == batch.targets.shape == before.shape
        assert 0 <= batch.inputs.min() <= batch.inputs.max() <= 1

    @every
    def test_its_seed_draws_its_weights(self, name: str) -> None:
        states = [fresh_network(small(name), seed).state_dict() for seed in (3, 3, 4)]
        assert all(equal(states[0], states[1]))
        assert not all(equal(states[0], states[2]))


class TestTraining:
    @trained
    def test_its_loss_is_finite_and_falls_on_one_batch(self, name: str) -> None:
        method = small(name)
        network, batch, stage = fresh_network(method, 0).train(), made(method), method.stages()[-1]
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

    @trained
    def test_the_same_seed_trains_the_same_weights_and_touches_no_global_random_numbers(self, name: str) -> None:
        def states() -> list[str]:
            numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002
            parts = [str(part) for part in numpy_state]
            return [str(random.getstate()), str(parts), str(torch.get_rng_state().tolist())]

        before, results = states(), []
        for seed in (1, 1, 2):
            one = learner(name)
            train(one, seed=seed)
            results.append(one.network.state_dict())
        assert states() == before
        assert all(equal(results[0], results[1]))
        assert not all(equal(results[0], results[2]))

    @trained
    def test_its_terms_are_those_that_its_stages_weigh(self, name: str) -> None:
        method = small(name)
        network, batch = method.network(), made(method)
        for stage in method.stages():
            assert stage.weights.keys() <= method.losses(network, batch, stage).terms.keys()


class TestSampling:
    def test_the_auto_encoder_sees_whole_volumes_uncorrupted(self) -> None:
        method = small("autoencoder", shape=(32, 32, 16))
        assert method.sampling() == WholeVolumes((32, 32, 16))
        batch = made(method)
        assert torch.equal(batch.inputs, scans())
        assert torch.equal(batch.targets, scans())

    def test_models_genesis_sees_32_random_cubes_of_each_volume(self) -> None:
        config = ModelsGenesisConfig()
        assert METHODS.load("models_genesis")(config).sampling() == Crops(config.crops, 32)

    def test_semantic_genesis_sees_the_discovered_patterns(self) -> None:
        assert small("semantic_genesis").sampling() == Patterns()

    def test_scratch_trains_nothing_and_refuses_to_sample(self) -> None:
        method = small("scratch")
        assert method.stages() == []
        with pytest.raises(MethodError, match="does not pretrain"):
            method.sampling()


class TestPublishedSettings:
    def test_models_genesis_is_trained_by_sgd_with_lr_1_and_halved_every_40_epochs(self) -> None:
        training = ModelsGenesisConfig().training
        assert training.optimiser.key_content() == {"name": "sgd", "lr": 1.0, "momentum": 0.9, "weight_decay": 0.0}
        assert (training.schedule.name, training.schedule.every, training.schedule.factor) == ("step", 40, 0.5)
        assert (training.batch_size, training.patience) == (6, 50)

    def test_semantic_genesis_is_trained_by_adam_with_a_plateau_of_20_epochs(self) -> None:
        config = SemanticGenesisConfig()
        training = config.training
        assert (training.optimiser.name, training.optimiser.lr) == ("adam", 1e-3)
        assert (training.schedule.name, training.schedule.every, training.batch_size) == ("plateau", 20, 8)
        assert (config.preset, config.semantics.warm_up_epochs) == ("semantic_genesis_keras", 20)

    @pytest.mark.parametrize(("preset", "fill"), [("keras", "constant"), ("pytorch", "noise")])
    def test_a_partial_setting_keeps_the_rest_of_the_chosen_preset(self, preset: str, fill: str) -> None:
        config = SemanticGenesisConfig.model_validate(
            {"preset": f"semantic_genesis_{preset}", "transforms": {"in_painting": {"border": 1}}}
        )
        assert (config.transforms.in_painting.border, config.transforms.in_painting.fill) == (1, fill)
        assert config.transforms.shuffle.blocks == 5


class TestSemantics:
    def test_weights_are_1_and_a_hundredth_by_default(self) -> None:
        _, joint = semantic_stages(Training(), SemanticsConfig())
        assert joint.weights == {"restoration": 1.0, "classification": 0.01}

    @pytest.mark.parametrize(
        ("epochs", "warm_up", "stages"),
        [
            (10, 4, {"warm-up": 4, "joint": 6}),
            (10, 0, {"joint": 10}),
            (3, 3, {"warm-up": 3}),
            (3, 5, {"warm-up": 3}),
            (0, 5, {}),
        ],
    )
    def test_the_warm_up_counts_inside_the_budget_of_epochs(
        self, epochs: int, warm_up: int, stages: dict[str, int]
    ) -> None:
        found = semantic_stages(Training(epochs=epochs), SemanticsConfig(warm_up_epochs=warm_up))
        assert {stage.name: stage.training.epochs for stage in found} == stages

    def test_the_warm_up_counts_inside_the_budget_of_steps(self) -> None:
        rows = train(learner("semantic_genesis", training={"epochs": 100, "steps": 9}), seed=0)
        assert rows[-1]["step"] == 9
        assert {row["stage"] for row in rows} == {"warm-up", "joint"}

    def test_the_warm_up_is_not_cut_short_by_patience(self) -> None:
        first, joint = semantic_stages(Training(patience=3), SemanticsConfig())
        assert (first.training.patience, joint.training.patience) == (None, 3)

    def test_the_warm_up_only_classifies(self) -> None:
        one = learner("semantic_genesis")
        one.stages = one.stages[:1]
        before = weights(one.network, "")
        rows = train(one, seed=0)
        after = weights(one.network, "")
        assert {name for row in rows for name in row["train"]} == {"loss", "classification", "accuracy"}
        for name, same in zip(before, equal(before, after), strict=True):
            assert same == name.startswith(("up_tr", "out_tr")), name

    def test_the_warm_up_does_not_run_the_decoder(self) -> None:
        method, network = small("semantic_genesis"), YNet3D(2, CLASSES)
        ran: list[nn.Module] = []
        network.out_tr.register_forward_hook(lambda module, inputs, output: ran.append(module))
        counts = []
        for stage in method.stages():
            method.losses(network, made(method), stage)
            counts.append(len(ran))
        assert counts == [0, 1]

    def test_the_joint_stage_trains_every_part(self) -> None:
        one = learner("semantic_genesis", semantics={"warm_up_epochs": 0})
        before = weights(one.network, "")
        rows = train(one, seed=0)
        assert {"classification", "restoration", "accuracy"} < rows[0]["train"].keys()
        assert not any(equal(before, weights(one.network, "")))
        for row in rows:
            terms = row["train"]
            assert terms["loss"] == pytest.approx(terms["restoration"] + 0.01 * terms["classification"], rel=1e-5)

    def test_logits_however_large_cost_a_finite_loss(self) -> None:
        method = small("semantic_genesis")
        network = fresh_network(method, 0)
        assert isinstance(network, YNet3D)
        with torch.no_grad():
            network.clc_out.fc1.weight.mul_(1e6)
        for stage in method.stages():
            losses = semantic_losses(network, made(method), stage)
            assert torch.isfinite(weighted_loss(losses, stage))
            assert losses.terms["classification"] > 100

    def test_accuracy_is_the_share_of_patterns_told_apart(self) -> None:
        network, batch = YNet3D(2, CLASSES), made(small("semantic_genesis"))
        nn.init.zeros_(network.clc_out.fc1.weight)
        with torch.no_grad():
            network.clc_out.fc1.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
        stage = Stage(name="warm-up", training=Training(), weights={"classification": 1.0})
        assert semantic_losses(network, batch, stage).measures["accuracy"] == pytest.approx(1 / 3)


class TestAutoencoder:
    def test_the_latent_is_the_bottleneck_averaged_over_places(self) -> None:
        method = small("autoencoder")
        assert isinstance(method, Autoencoder)
        network = fresh_network(method, 0).eval()
        assert isinstance(network, UNet3D)
        found = latent(network, scans()[:1])
        assert (found.shape, found.dtype.name) == ((32,), "float32")
        with torch.no_grad():
            wanted = network.features(scans()[:1])[-1].mean(dim=(2, 3, 4))[0]
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)

    @pytest.mark.parametrize("skips", [True, False])
    def test_its_decoder_sees_fine_maps_only_with_skips(self, skips: bool) -> None:
        network = small("autoencoder", skips=skips).network()
        assert isinstance(network, UNet3D)
        *fine, deep = network.eval().features(scans()[:1])
        with torch.no_grad():
            changed = network.decode([level + 1 for level in fine] + [deep])
            assert torch.equal(changed, network.decode([*fine, deep])) == (not skips)
