"""Methods that compare views or rearrange pieces, against closed forms or plain computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sg_bench.data.cubes import ArrayCubes
from sg_bench.methods import Batch, Method
from sg_bench.methods.dino import GLOBAL, DINOHead, Distillation
from sg_bench.methods.masked_autoencoder import normalised, patches
from sg_bench.methods.moco_v2 import WithQueue
from sg_bench.methods.simclr import contrast
from sg_bench.methods.vicreg import covariance, hinge
from sg_bench.methods.voco import similarity_of_others
from sg_bench.methods.volume_fusion import dice
from sg_bench.registry import METHODS
from sg_bench.training.draws import Draw, Purpose
from sg_bench.training.loop import train
from sg_bench.training.pretraining import Pretraining, build_initialised, fresh_network

SMALL: dict[str, Any] = {"width": 1}
HEAD: dict[str, Any] = {"projection": {"hidden": 8, "outputs": 4}}
TRAINING = {"batch_size": 4, "epochs": 2, "steps_per_epoch": 2, "optimiser": {"name": "sgd", "lr": 0.01}}


def made(name: str, **settings: Any) -> Method:
    kind: Any = METHODS.config(name)
    small = SMALL | (HEAD if "projection" in kind.model_fields else {})
    config: Any = kind.model_validate({**small, "training": TRAINING, **settings})
    method: Method = METHODS.load(name)(config, 3 if "patterns" in config.needs else 0)
    return method


def learner(method: Method, count: int = 6, channels: int = 0) -> Pretraining:
    """Return a pretraining on random cubes of two cases."""
    shape = (count, channels, 16, 16, 8) if channels else (count, 16, 16, 8)
    cubes = np.random.default_rng(0).random(shape).astype(np.float32)
    data = ArrayCubes(cubes, np.arange(count) % 3, [f"case{number % 2}" for number in range(count)])
    return Pretraining(method, fresh_network(method, 0), data, data, torch.device("cpu"))


def draws(count: int = 4) -> list[Draw]:
    return [Draw(place, (0, Purpose.TRAIN, place)) for place in range(count)]


class TestSimCLR:
    def test_its_loss_is_the_cross_entropy_of_the_paper(self) -> None:
        one, other = normalize(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), dim=2)
        both, total = torch.cat([one, other]), 0.0
        for own in range(6):
            others = [math.exp(float(both[own] @ both[each]) / 0.5) for each in range(6) if each != own]
            total -= math.log(math.exp(float(both[own] @ both[(own + 3) % 6]) / 0.5) / sum(others))
        assert contrast(one, other, 0.5).item() == pytest.approx(total / 6, rel=1e-5)


class TestMoCo:
    def test_the_queue_replaces_its_oldest_keys_around_its_end(self) -> None:
        network = WithQueue(nn.Linear(2, 2), nn.Linear(2, 2), torch.randn(4, 2))
        first = network.queue.clone()
        network.enqueue(torch.ones(3, 2))
        network.enqueue(2 * torch.ones(2, 2))
        assert network.queue[:, 0].tolist() == [2.0, 1.0, 1.0, 2.0]
        network.enqueue(torch.arange(12.0).view(6, 2))
        assert sorted(network.queue[:, 0].tolist()) == [4.0, 6.0, 8.0, 10.0]
        assert not torch.equal(first, network.queue)

    def test_a_step_changes_teacher_and_queue_and_losses_change_neither(self) -> None:
        method = made("moco_v2", queue=6, momentum=0.5)
        pretraining = learner(method)
        network: Any = pretraining.network
        batch = pretraining.batch("train", draws())
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        assert all(torch.equal(before[name.replace("student", "teacher")], each) for name, each in before.items())
        losses = pretraining.losses(batch, pretraining.stages[0])
        assert torch.equal(network.queue, before["queue"])
        with torch.no_grad():
            network.student.head[0].weight.add_(1)
        pretraining.after_step(1, 10, losses)
        changed = network.teacher.head[0].weight - before["teacher.head.0.weight"]
        torch.testing.assert_close(changed, torch.full_like(changed, 0.5))
        assert torch.equal(network.queue[:4], losses.carried["keys"])
        assert torch.equal(network.queue[4:], before["queue"][4:])

    def test_only_the_encoder_of_queries_is_trained_and_exported(self) -> None:
        method = made("moco_v2", queue=6)
        pretraining = learner(method)
        train(pretraining, seed=0)
        network: Any = pretraining.network
        assert not any(each.requires_grad for each in network.teacher.parameters())
        encoder, decoder = method.initialisation(network)
        own = network.student.backbone.state_dict()
        assert encoder.keys() == own.keys()
        assert decoder == {}
        assert all(torch.equal(each, own[name]) for name, each in encoder.items())

    def test_its_training_ends_with_the_last_weights_whatever_the_loss(self) -> None:
        pretraining = learner(made("moco_v2", queue=6, training={**TRAINING, "epochs": 4, "patience": 1}))
        curves = train(pretraining, seed=0)
        assert [row["epoch"] for row in curves] == [0, 1, 2, 3]
        assert all(row["best"] for row in curves)


class TestVICReg:
    def test_units_that_vary_enough_and_do_not_covary_cost_nothing(self) -> None:
        embedded = 2 * torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        assert hinge(embedded).item() == 0
        assert covariance(embedded).item() == pytest.approx(0)

    def test_it_agrees_with_numpy(self) -> None:
        embedded = np.random.default_rng(0).normal(size=(7, 3))
        matrix, found = np.cov(embedded.T), torch.from_numpy(embedded)
        assert covariance(found).item() == pytest.approx((matrix**2).sum() / 3 - (matrix.diagonal() ** 2).sum() / 3)
        deviations = np.sqrt(matrix.diagonal() + 1e-4)
        assert hinge(found).item() == pytest.approx(np.maximum(0, 1 - deviations).mean())

    def test_a_single_image_has_a_finite_loss(self) -> None:
        pretraining = learner(made("vicreg"))
        pretraining.network.eval()
        losses = pretraining.losses(pretraining.batch("validation", draws(1)), pretraining.stages[0])
        assert all(torch.isfinite(term) for term in losses.terms.values())


def _head_norms(network: nn.Module) -> list[nn.BatchNorm1d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]


class TestDINO:
    def test_every_pair_of_a_large_view_and_another_one_counts_once(self) -> None:
        method = made("dino", local_views=1, local_size=(8, 8, 8), bottleneck=4)
        pretraining = learner(method)
        network, batch = pretraining.network, pretraining.batch("train", draws())
        assert isinstance(network, Distillation)
        assert [tuple(view.shape[2:]) for view in batch.views] == [(16, 16, 8), (8, 8, 8)]
        network.eval()
        with torch.no_grad():
            found = pretraining.losses(batch, pretraining.stages[0])
            views = [batch.inputs, *batch.views]
            student = [(network(view) / 0.1).log_softmax(-1) for view in views]
            teacher = [((network.teacher_outputs(view) - network.centre) / 0.04).softmax(-1) for view in views[:GLOBAL]]
        pairs = [
            -(own * other).sum(-1).mean()
            for number, own in enumerate(teacher)
            for place, other in enumerate(student)
            if place != number
        ]
        assert len(pairs) == 4
        assert found.terms["distillation"].item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-4)

    def test_small_views_that_do_not_fit_the_network_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"local_size \(10, 8, 8\) does not fit network 'unet3d': sides must be"):
            made("dino", local_size=(10, 8, 8))

    def test_momentum_temperature_and_centre_follow_their_schedules(self) -> None:
        method = made("dino", local_views=0, bottleneck=4, momentum=0.5, warm_up=0.5)
        network = learner(method).network
        assert isinstance(network, Distillation)
        temperatures = []
        for step in range(1, 5):
            method.after_step(network, step, 4, {"centre": torch.ones(4)})
            temperatures.append(network.temperature.item())
        assert temperatures == pytest.approx([0.055, 0.07, 0.07, 0.07])
        assert network.centre.tolist() == pytest.approx([1 - 0.9**4] * 4)

    @pytest.mark.parametrize("norm", [False, True])
    def test_only_a_head_with_batch_norm_tells_features_apart_whose_mean_outweighs_them(self, *, norm: bool) -> None:
        features = 10 + torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
        head = build_initialised(lambda: DINOHead(16, 64, 8, 16, norm=norm), 0)
        spread = head(features).std(0).mean().item()
        assert spread > 0.2 if norm else spread < 0.05

    def test_batch_norm_in_the_head_is_a_setting_and_its_statistics_are_the_teachers_own(self) -> None:
        method = made("dino", local_views=1, local_size=(8, 8, 8), bottleneck=4, head_norm=True)
        pretraining = learner(method)
        network = pretraining.network
        assert isinstance(network, Distillation)
        student, teacher = (_head_norms(each) for each in (network.student, network.teacher))
        assert (len(student), len(teacher)) == (2, 2)
        assert not _head_norms(made("dino", bottleneck=4).network())
        network.train()
        pretraining.losses(pretraining.batch("train", draws()), pretraining.stages[0])
        taught = teacher[0].running_mean
        assert taught is not None
        assert taught.abs().sum() > 0
        kept = taught.clone()
        pretraining.method.after_step(network, 1, 4, {"centre": torch.zeros(4)})
        assert torch.equal(taught, kept)


class TestPieces:
    def test_the_overlaps_of_a_crop_are_known(self) -> None:
        method = made("voco", overlap={"grid": 2, "crops": 1})
        images = torch.zeros(1, 1, 16, 16, 8)
        batch = method.make_batch(images, torch.zeros(1).long(), {"starts": torch.tensor([[[2, 4, 0]]])})
        assert batch.answers["overlap"].tolist() == [[[0.375, 0.375, 0.125, 0.125]]]
        assert batch.inputs.shape == (1, 1, 5 * 8, 8, 8)

    def test_different_base_crops_may_not_be_alike(self) -> None:
        assert similarity_of_others(torch.eye(3)[None]).item() == 0
        assert similarity_of_others(torch.ones(1, 3, 4) / 2).item() == pytest.approx(1)

    def test_tiles_are_where_the_order_puts_them(self) -> None:
        method = made("jigsaw", tiles={"grid": 2, "permutations": 4, "gap": (0, 0, 0)}, hidden=4)
        images = torch.arange(16**3).float().view(1, 1, 16, 16, 16) / 16**3
        cells = torch.tensor(np.indices((2, 2, 2)).reshape(3, -1).T * 8)[None]
        batches = [
            method.make_batch(images, torch.zeros(1).long(), {"order": torch.tensor([order]), "starts": cells})
            for order in (0, 1)
        ]
        first, second = (batch.inputs.view(8, 8, 8, 8) for batch in batches)
        assert torch.equal(first[0], images[0, 0, :8, :8, :8])
        assert torch.equal(first[7], images[0, 0, 8:, 8:, 8:])
        assert not torch.equal(first, second)
        assert sorted(first[:, 0, 0, 0].tolist()) == sorted(second[:, 0, 0, 0].tolist())

    def test_fused_voxels_are_as_much_of_the_other_image_as_their_class_says(self) -> None:
        method = made("volume_fusion", fusion={"sides": (4, 8)})
        pretraining = learner(method)
        batch = pretraining.batch("train", draws())
        classes = batch.answers["classes"]
        assert set(classes.unique().tolist()) == {0, 1, 2, 3, 4}
        background, other = torch.zeros(4, 1, 16, 16, 8), torch.ones(4, 1, 16, 16, 8)
        fused = method.fusion.fuse(background, other, classes)  # type: ignore[attr-defined]
        assert torch.equal(fused[:, 0] * 4, classes.float())
        assert torch.equal(batch.inputs[:, 0][classes == 0], batch.targets[:, 0][classes == 0])

    def test_dice_of_a_perfect_segmentation_is_one(self) -> None:
        classes = torch.tensor([0, 1, 2, 1]).view(1, 4, 1, 1)
        perfect = nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
        assert dice(perfect, classes).item() == pytest.approx(1)
        assert dice(perfect.roll(1, 1), classes).item() < 0.01


class TestMaskedAutoencoderOnViT:
    def method(self) -> Method:
        vit = {"name": "vit", "config": {"patch": 8, "width": 12, "depth": 1, "heads": 2}}
        return made("masked_autoencoder_vit", network=vit, decoder_depth=1, decoder_width=12, decoder_heads=2)

    def test_the_encoder_sees_the_visible_patches_alone(self) -> None:
        pretraining = learner(self.method())
        network: Any = pretraining.network
        batch = pretraining.batch("train", draws())
        visible = batch.answers["visible"]
        assert visible.flatten(1).sum(1).tolist() == [1] * 4
        shown = visible[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
        other = torch.where(shown, batch.targets, torch.rand_like(batch.targets))
        with torch.no_grad():
            found = network.encoded(batch.targets, visible)
            torch.testing.assert_close(network.encoded(other, visible), found)
            torch.testing.assert_close(network.encoded(batch.inputs, visible), found)
        assert not torch.equal(other, batch.targets)

    def test_restored_patches_in_place_of_the_targets_cost_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretraining = learner(self.method())
        batch = pretraining.batch("train", draws())
        wanted = normalised(patches(batch.targets, (8, 8, 8))).flatten(1, 3)
        monkeypatch.setattr(pretraining.network, "forward", lambda images, visible: wanted)
        assert pretraining.losses(batch, pretraining.stages[0]).terms["restoration"].item() == 0

    def test_its_network_is_a_vit_unless_another_one_is_chosen(self) -> None:
        config: Any = METHODS.config("masked_autoencoder_vit")()
        assert (config.chosen_network.name, config.chosen_network.config.width) == ("vit", 768)


class TwoImages(Method):
    """Gets two images of one case a sample, and returns their batch."""

    images_per_sample = 2

    def network(self) -> nn.Module:
        return self.new_encoder()

    def sampling(self) -> Any:
        raise NotImplementedError

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        return Batch(images[:, 0], images[:, 0], labels, views=(images[:, 1],))

    def losses(self, network: nn.Module, batch: Batch, stage: Any) -> Any:
        raise NotImplementedError


class TestSamples:
    def config(self) -> Any:
        return METHODS.config("simclr").model_validate(SMALL | HEAD)

    def test_a_batch_knows_its_samples_and_their_cases(self) -> None:
        pretraining = learner(made("simclr"))
        batch = pretraining.batch("train", [Draw(place, (0, 1, place)) for place in (3, 0, 4)])
        assert batch.indices is not None
        assert batch.cases is not None
        assert batch.indices.tolist() == [3, 0, 4]
        assert [pretraining.method.case_ids[case] for case in batch.cases] == ["case1", "case0", "case0"]

    def test_several_images_of_one_case_make_a_sample(self) -> None:
        pretraining = learner(TwoImages(self.config()))
        cubes = torch.from_numpy(pretraining.cubes["train"].images(range(6)))
        batch = pretraining.batch("train", draws(6))
        for row, (own, other) in enumerate(zip(batch.inputs[:, 0], batch.views[0][:, 0], strict=True)):
            assert torch.equal(own, cubes[row])
            assert any(torch.equal(other, cubes[place]) for place in range(row % 2, 6, 2))
        again = pretraining.batch("train", draws(3))
        assert torch.equal(again.views[0], batch.views[0][:3])

    def test_images_can_have_several_channels(self) -> None:
        batch = learner(TwoImages(self.config()), channels=2).batch("train", draws(3))
        assert batch.inputs.shape == batch.views[0].shape == (3, 2, 16, 16, 8)

    def test_semantics_keeps_views_and_hooks(self) -> None:
        method = made("moco_v2+semantics", queue=6, semantics={"warm_up_epochs": 1})
        pretraining = learner(method)
        assert method.promise.of == "probe"
        curves = train(pretraining, seed=0)
        assert [sorted(row["train"]) for row in curves] == [
            ["accuracy", "classification", "loss"],
            ["accuracy", "classification", "contrast", "instance_accuracy", "loss"],
        ]
        network: Any = pretraining.network
        assert int(network.base.place) == 8 % 6


class TestSizeOfPieces:
    @pytest.mark.parametrize(
        ("name", "message"), [("jigsaw", "pieces of 24 x 24 x 8"), ("voco", "pieces of 24 x 24 x 48")]
    )
    def test_pieces_that_do_not_fit_the_network_are_refused(self, name: str, message: str) -> None:
        network = {"name": "resenc_unet", "config": {"blocks": (1, 1, 1, 1, 1, 1, 1)}}
        with pytest.raises(ValueError, match=f"{message}, which do not fit network 'resenc_unet': 7 levels need"):
            made(name, network=network, crops={"cube": (96, 96, 48)})

    def test_they_are_judged_as_they_are_after_they_are_enlarged(self) -> None:
        assert made("jigsaw", crops={"cube": (16, 16, 8)}, tiles={"grid": 2}).config.piece == (4, 4, 2)

    def test_pieces_of_self_discovered_cubes_do_not_depend_on_the_crops(self) -> None:
        small = {"name": "resenc_unet", "config": {"width": 1}}
        semantics = {"warm_up_epochs": 1}
        assert made("jigsaw+semantics", network=small, semantics=semantics).config.piece == (24, 24, 8)
