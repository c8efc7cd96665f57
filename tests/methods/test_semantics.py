"""The add-on on any method: the method's own losses, the patterns' in addition, one run of the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import Shape, Stage
from sg_bench.data.cubes import ArrayCubes
from sg_bench.errors import MethodError
from sg_bench.methods.base import Batch, Losses, Method, Patterns, Restoration
from sg_bench.methods.configs import InpaintingConfig, MethodConfig, with_semantics
from sg_bench.methods.models_genesis import ModelsGenesis
from sg_bench.methods.semantics import WithPatternHead, coarsest_maps
from sg_bench.methods.semantics import with_semantics as method_with_semantics
from sg_bench.networks.build import unet
from sg_bench.networks.configs import papers_network
from sg_bench.registry import METHODS
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.pretraining import Pretraining, fresh_network
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams

NAMES = [
    "autoencoder",
    "inpainting",
    "masked_autoencoder",
    "models_genesis",
    "patch_shuffling",
    "rotation",
    "rubiks_cube",
]
SHAPES: dict[int, Shape] = {3: (16, 16, 16), 2: (64, 64, 1)}
CLASSES = 3
EVERY = [(name, dimension) for name in NAMES for dimension in (3, 2) if (name, dimension) != ("rubiks_cube", 2)]
every = pytest.mark.parametrize(("name", "dimension"), EVERY)


def composed(name: str, dimension: int = 3, **settings: Any) -> Method:
    given = {"dimension": dimension, "width": 1, "semantics": {"warm_up_epochs": 1}, **settings}
    config = METHODS.config(f"{name}+semantics").model_validate(given)
    method: Method = METHODS.load(f"{name}+semantics")(config, CLASSES)
    return method


def cubes(dimension: int = 3, count: int = 6) -> Tensor:
    drawn = np.random.default_rng(0).random((count, 1, *SHAPES[dimension]), np.float32)
    drawn[:, :, :8] *= 0.2
    return torch.from_numpy(drawn)


def made(method: Method) -> Batch:
    dimension = method.config.dimension
    keys = [(0, place) for place in range(6)]
    params = as_tensors(method.sample_params(RandomStreams(keys), SHAPES[dimension]))
    return method.make_batch(cubes(dimension), torch.arange(6) % CLASSES, params)


def deepest(method: Method, network: nn.Module) -> nn.Module:
    """Return the part of the encoder that makes its coarsest map."""
    name = "down_tr512" if method.config.dimension == 3 else "encoder.layer4"
    return method.backbone(network).get_submodule(name)


class TestLosses:
    @every
    def test_the_encoder_runs_once_a_step_in_either_stage(self, name: str, dimension: int) -> None:
        method = composed(name, dimension)
        network, ran = method.network(), []
        deepest(method, network).register_forward_hook(lambda *_: ran.append(1))
        counts = []
        for stage in method.stages():
            method.losses(network, made(method), stage)
            counts.append(len(ran))
        assert counts == [1, 2]

    @every
    def test_its_own_terms_are_to_the_bit_those_of_the_method_alone(self, name: str, dimension: int) -> None:
        method = composed(name, dimension)
        network, batch, joint = fresh_network(method, 0).train(), made(method), method.stages()[-1]
        assert isinstance(network, WithPatternHead)
        alone = METHODS.load(name)(method.config)
        (stage,) = alone.stages()
        wanted = alone.losses(network.base, batch, stage)
        found = method.losses(network, batch, joint)
        assert found.terms.keys() - wanted.terms.keys() == {"classification"}
        assert all(torch.equal(found.terms[term], value) for term, value in wanted.terms.items())
        assert found.measures.keys() == {*wanted.measures, "accuracy"}
        assert joint.weights == {**stage.weights, "classification": 0.01}

    @every
    def test_the_patterns_are_told_from_the_map_that_the_method_used(self, name: str, dimension: int) -> None:
        method = composed(name, dimension)
        network, batch = fresh_network(method, 0).train(), made(method)
        stages = method.stages()
        assert isinstance(network, WithPatternHead)
        cost = [method.losses(network, batch, stage).terms["classification"] for stage in stages]
        assert torch.equal(*cost)
        logits = network(batch.inputs)
        assert logits.shape == (6, CLASSES)
        wanted = nn.functional.cross_entropy(logits, torch.arange(6) % CLASSES)
        torch.testing.assert_close(cost[0], wanted)

    def test_all_sub_cubes_of_a_rubiks_cube_vote_for_its_pattern(self) -> None:
        method = composed("rubiks_cube")
        network = fresh_network(method, 0)
        assert isinstance(network, WithPatternHead)
        maps = torch.from_numpy(np.random.default_rng(0).random((16, 16, 1, 1, 1), np.float32))
        wanted = torch.stack([network.clc_out.eval()(maps[:8]).mean(0), network.clc_out(maps[8:]).mean(0)])
        torch.testing.assert_close(network.classify([maps], 2), wanted)

    def test_weights_of_a_method_with_several_terms_are_kept_and_scaled(self) -> None:
        settings = {"weight_restoration": 2.0, "weight_classification": 0.5, "warm_up_epochs": 0}
        (joint,) = composed("rubiks_cube", semantics=settings, weight_order=0.3).stages()
        assert joint.weights == {"order": 0.6, "turned": 1.0, "classification": 0.5}

    def test_rotation_pays_both_cross_entropies(self) -> None:
        method = composed("rotation")
        losses, joint = method.losses(method.network(), made(method), method.stages()[-1]), method.stages()[-1]
        total = losses.terms["rotation"] + 0.01 * losses.terms["classification"]
        torch.testing.assert_close(weighted_loss(losses, joint), total)


class TestStages:
    @every
    def test_the_warm_up_trains_encoder_and_pattern_head_and_nothing_else(self, name: str, dimension: int) -> None:
        method = composed(name, dimension, training={"batch_size": 3, "epochs": 2, "norm_eval": "batch"})
        images = ArrayCubes(cubes(dimension)[:, 0].numpy(), np.arange(6) % CLASSES)
        learner = Pretraining(method, fresh_network(method, 0), images, images, torch.device("cpu"))
        learner.stages = learner.stages[:1]
        before = {key: tensor.clone() for key, tensor in learner.network.named_parameters()}
        rows = train(learner, seed=0)
        assert {key for row in rows for key in row["train"]} == {"loss", "classification", "accuracy"}
        handed = method.initialisation(learner.network)[0]
        learned = {key for key, tensor in learner.network.named_parameters() if not torch.equal(tensor, before[key])}
        wanted = {
            key
            for key in before
            if key.startswith("clc_out") or key.removeprefix("base.").removeprefix("backbone.") in handed
        }
        assert learned == wanted

    def test_a_method_keeps_its_optimiser_and_gives_the_warm_up_some_of_its_epochs(self) -> None:
        warm_up, joint = composed("models_genesis", training={"epochs": 9}, semantics={"warm_up_epochs": 4}).stages()
        assert (warm_up.name, warm_up.training.epochs, warm_up.weights) == ("warm-up", 4, {"classification": 1.0})
        assert (joint.name, joint.training.epochs) == ("joint", 5)
        for stage in (warm_up, joint):
            assert (stage.training.optimiser.name, stage.training.optimiser.lr) == ("sgd", 1.0)

    def test_a_warm_up_that_leaves_no_epochs_is_refused(self) -> None:
        with pytest.raises(ValueError, match="warm_up_epochs = 20 leaves none of 20 epochs"):
            composed("rotation", training={"epochs": 20}, semantics={})

    def test_models_genesis_with_semantics_differs_from_semantic_genesis(self) -> None:
        method = composed("models_genesis")
        whole = METHODS.load("semantic_genesis")(METHODS.config("semantic_genesis")(), CLASSES)
        assert method.stages()[-1].training.optimiser != whole.stages()[-1].training.optimiser
        own = ModelsGenesis(method.config).sample_params(RandomStreams([0]), (16, 16, 16))
        assert method.sample_params(RandomStreams([0]), (16, 16, 16)).keys() == own.keys()
        assert own.keys() != whole.sample_params(RandomStreams([0]), (16, 16, 16)).keys()


class TestConfigs:
    @every
    def test_a_config_is_the_methods_own_with_semantics_and_survives_json(self, name: str, dimension: int) -> None:
        base, both = (METHODS.config(each) for each in (name, f"{name}+semantics"))
        config = both.model_validate({"dimension": dimension})
        dumped = config.model_dump(mode="json")
        assert dumped.keys() - base.model_fields.keys() == {"semantics"}
        assert {key: value for key, value in dumped.items() if key != "semantics"} == base.model_validate(
            {"dimension": dimension}
        ).model_dump(mode="json")
        assert both.model_validate(dumped) == config
        assert both.needs == {"corpus", "patterns"}  # type: ignore[attr-defined]
        assert METHODS.config(f"{name}+semantics") is both

    def test_it_learns_from_the_patterns_and_the_control_from_permuted_labels(self) -> None:
        assert composed("inpainting").sampling() == Patterns()
        assert composed("inpainting", semantics={"labels": "random"}).sampling() == Patterns(permuted=True)
        for name in ("semantic_genesis", "self_classification"):
            config = METHODS.config(name).model_validate({"semantics": {"labels": "random"}})
            assert METHODS.load(name)(config, CLASSES).sampling() == Patterns(permuted=True)


class OneOfOurs(Restoration):
    """A plugin with labels and answers of its own, which may leave its encoder alone."""

    runs = True

    def sampling(self) -> Patterns:
        return Patterns()

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        return Batch(1 - images, images, torch.full_like(labels, 7), {"mine": labels + 1})

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        assert batch.labels.unique().tolist() == [7]
        out = network(batch.inputs) if self.runs else torch.zeros(1)
        return Losses({"restoration": out.mean()})


class TestPlugins:
    def plugin(self, kind: type[Method] = OneOfOurs) -> Method:
        config = with_semantics("ours", MethodConfig).model_validate({"width": 1})
        return method_with_semantics(kind)(config, CLASSES)

    def test_a_plugins_own_labels_and_answers_reach_its_losses(self) -> None:
        method = self.plugin()
        batch = method.make_batch(cubes(), torch.arange(6) % CLASSES, {})
        assert batch.answers["mine"].tolist() == [1, 2, 3, 1, 2, 3]
        assert {"restoration", "classification"} == method.losses(
            method.network(), batch, method.stages()[-1]
        ).terms.keys()

    def test_an_encoder_that_was_not_run_is_told(self) -> None:
        class Idle(OneOfOurs):
            runs = False

        method = self.plugin(Idle)
        batch = method.make_batch(cubes(), torch.arange(6) % CLASSES, {})
        with pytest.raises(MethodError, match="the encoder returned 0 maps for 6 images") as caught:
            method.losses(method.network(), batch, method.stages()[-1])
        assert "features()" in caught.value.hint

    def test_a_network_without_exactly_one_backbone_is_told_how_to_name_it(self) -> None:
        class Twins(OneOfOurs):
            def network(self) -> nn.Module:
                return nn.ModuleList([unet(papers_network(3, 1)), unet(papers_network(3, 1))])

        with pytest.raises(MethodError, match="Twins: its network has 2 backbones") as caught:
            self.plugin(Twins).network()
        assert "backbone(network)" in caught.value.hint

    def test_maps_are_collected_in_the_block_only_even_after_an_error(self) -> None:
        network = unet(papers_network(3, 1))
        with pytest.raises(MethodError), coarsest_maps(network) as maps:
            network(torch.zeros(1, 1, 3, 3, 3))
        network(torch.zeros(2, 1, 8, 8, 8))
        assert maps == []


def test_the_add_on_of_one_method_is_one_class_named_after_it() -> None:
    kind = METHODS.load("inpainting+semantics")
    assert kind is METHODS.load("inpainting+semantics")
    assert kind.__name__ == "InpaintingWithSemantics"
    assert METHODS.config("inpainting+semantics").__name__ == "InpaintingConfigWithSemantics"
    assert issubclass(METHODS.config("inpainting+semantics"), InpaintingConfig)
