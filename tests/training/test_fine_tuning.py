from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sg_bench.data.store import Store
from sg_bench.errors import DataError, MethodError
from sg_bench.networks.configs import papers_network
from sg_bench.networks.heads import Classifier
from sg_bench.networks.initialise import glorot_bound
from sg_bench.registry import METHODS
from sg_bench.tasks import Slices, read_task
from sg_bench.training.draws import Draw, Purpose
from sg_bench.training.fine_tuning import FineTuning, random_flip, task_network
from sg_bench.training.loop import train
from sg_bench.training.pretraining import fresh_network
from sg_bench.training.task_losses import soft_dice_loss

Make = Callable[..., FineTuning]


def initial(seed: int, width: int = 1) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    method = METHODS.load("scratch")(METHODS.config("scratch").model_validate({"width": width}))
    encoder, decoder = method.initialisation(fresh_network(method, seed))
    return encoder, decoder


def draws(count: int, seed: int = 0) -> list[Draw]:
    return [Draw(index, (seed, Purpose.TRAIN, 0, 0, index)) for index in range(count)]


class TestSoftDice:
    def test_it_equals_a_value_worked_out_by_hand(self) -> None:
        probabilities = torch.tensor([[0.5, 1.0], [0.0, 0.25]])
        truths = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
        assert soft_dice_loss(probabilities, truths).item() == pytest.approx(1 - (2 * 1.5 + 1) / (2 + 1.75 + 1))

    def test_all_voxels_of_a_batch_count_together(self) -> None:
        probabilities, truths = torch.rand(3, 1, 4, 4, 4), (torch.rand(3, 1, 4, 4, 4) > 0.8).float()
        assert soft_dice_loss(probabilities, truths) == soft_dice_loss(probabilities.flatten(), truths.flatten())

    def test_perfect_is_zero_and_so_is_nothing_where_nothing_is(self) -> None:
        assert soft_dice_loss(torch.ones(5), torch.ones(5)) == 0
        assert soft_dice_loss(torch.zeros(5), torch.zeros(5)) == 0

    def test_a_segmentation_is_trained_on_it(self, tuning: Make) -> None:
        learner = tuning("ncs")
        batch = learner.batch("train", draws(3))
        with torch.no_grad():
            wanted = soft_dice_loss(torch.sigmoid(learner.network(batch.inputs)), batch.truths)
            assert torch.equal(learner.losses(batch, learner.stages[0]).terms["dice"], wanted)


class TestInitialisation:
    @pytest.mark.parametrize("name", ["ncc", "ncs"])
    def test_it_is_really_loaded(self, name: str) -> None:
        encoder, decoder = initial(5)
        network, report = task_network(read_task(name), papers_network(3, 1), encoder, decoder, seed=0)
        state = network.state_dict()
        wanted = encoder if name == "ncc" else {**encoder, **decoder}
        assert all(torch.equal(state[f"backbone.{key}"], tensor) for key, tensor in wanted.items())
        assert len(report.matched) == len(wanted)
        assert report.decoder == ("not needed" if name == "ncc" else "loaded")

    def test_the_head_is_drawn_from_the_fine_tuning_seed(self) -> None:
        heads = []
        for initialisation, seed in ((5, 0), (6, 0), (5, 1)):
            network, _ = task_network(read_task("ncc"), papers_network(3, 1), *initial(initialisation), seed)
            assert isinstance(network, Classifier)
            heads.append(network.output.weight)
        assert torch.equal(heads[0], heads[1])
        assert not torch.equal(heads[0], heads[2])
        assert heads[0].abs().max() <= glorot_bound(heads[0])

    def test_without_a_decoder_it_is_drawn_from_the_fine_tuning_seed(self) -> None:
        encoder, _ = initial(5)
        built = [task_network(read_task("ncs"), papers_network(3, 1), encoder, {}, seed) for seed in (0, 0, 1)]
        weights = [network.state_dict()["backbone.up_tr64.up_conv.weight"] for network, _ in built]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])
        assert built[0][1].decoder == "random"

    def test_weights_of_another_width_are_refused(self) -> None:
        with pytest.raises(MethodError, match="of another shape"):
            task_network(read_task("ncc"), papers_network(3, 2), *initial(0, width=1), seed=0)

    def test_all_layers_are_fine_tuned(self, tuning: Make) -> None:
        learner = tuning("ncs", training={"norm_eval": "batch", "steps": 3})
        before = {name: p.detach().clone() for name, p in learner.network.named_parameters()}
        train(learner, seed=0)
        assert not [n for n, p in learner.network.named_parameters() if torch.equal(before[n], p)]


class TestCandidates:
    def test_every_epoch_takes_all_positives_and_as_many_negatives_drawn_anew(self, tuning: Make) -> None:
        learner = tuning("ncc")
        chosen = []
        for epoch in (0, 1, 0):
            learner.start_epoch(0, epoch)
            assert (learner.samples("train"), learner.samples("validation")) == (8, 12)
            chosen.append([crop.id for crop in learner.epoch_crops])
            assert sum(crop.positive for crop in learner.epoch_crops) == 4
            assert len(set(chosen[-1])) == 8
        assert chosen[0] == chosen[2] != chosen[1]

    def test_negatives_depend_on_the_fine_tuning_seed(self, tuning: Make) -> None:
        learners = [tuning("ncc", seed=seed) for seed in (0, 1)]
        for learner in learners:
            learner.start_epoch(0, 0)
        assert learners[0].epoch_crops != learners[1].epoch_crops

    def test_unbalanced_it_takes_every_candidate(self, tuning: Make) -> None:
        learner = tuning("ncc", balanced=False)
        learner.start_epoch(0, 0)
        assert learner.samples("train") == 24

    def test_training_cases_without_positives_are_an_error(self, tuning: Make) -> None:
        learner = tuning("ncc")
        learner.crops["train"] = [crop for crop in learner.crops["train"] if not crop.positive]
        with pytest.raises(DataError, match="4 training cases hold 0 positive and 20 negative candidates"):
            train(learner, seed=0)

    def test_validation_crops_are_not_shifted_or_mirrored(self, tuning: Make, labelled: Store) -> None:
        learner = tuning("ncs", shift=3)
        batch = learner.batch("validation", draws(2))
        for row, id_ in enumerate(labelled.ids[4:]):
            x, y, z = (int(v) - 4 for v in labelled[id_].candidates[0].position)
            wanted = labelled.image(id_)[x : x + 8, y : y + 8, z : z + 8]
            np.testing.assert_array_equal(batch.inputs[row, 0].numpy(), wanted)

    def test_shifts_reach_both_ends_and_no_further(self, tuning: Make, labelled: Store) -> None:
        learner = tuning("ncs", shift=2, flips=(False, False, False))
        first = labelled[learner.epoch_crops[0].case]
        whole, found = labelled.image(first.id), set()
        for seed in range(400):
            (image,) = learner.batch("train", draws(1, seed)).inputs[:, 0].numpy()
            for shift in np.ndindex(5, 5, 5):
                x, y, z = (int(p) - 4 + s - 2 for p, s in zip(first.candidates[0].position, shift, strict=True))
                if whole[x, y, z] == image[0, 0, 0] and np.array_equal(whole[x : x + 8, y : y + 8, z : z + 8], image):
                    found.add(shift)
                    break
            else:
                pytest.fail("no shift within 2 voxels gives this crop")
        assert {value for shift in found for value in shift} == set(range(5))
        assert all({shift[axis] for shift in found} == set(range(5)) for axis in range(3))


class TestAugmentation:
    @pytest.mark.parametrize("name", ["ncs", "lcs"])
    def test_image_and_mask_move_together(self, tuning: Make, name: str) -> None:
        learner = tuning(name, shift=3, flips=(True, True, True))
        for seed in range(20):
            batch = learner.batch("train", draws(4, seed))
            assert torch.equal(batch.inputs > 0.5, batch.truths > 0)

    def test_each_allowed_axis_is_mirrored_half_of_the_time(self) -> None:
        image = np.arange(8).reshape(2, 2, 2)
        seen: dict[bytes, int] = {}
        for seed in range(400):
            found, truth = random_flip(image, image, (True, False, True), np.random.default_rng(seed))
            np.testing.assert_array_equal(found, truth)
            seen[found.tobytes()] = seen.get(found.tobytes(), 0) + 1
        wanted = [np.flip(image, axes).tobytes() for axes in ((), (0,), (2,), (0, 2))]
        assert set(seen) == set(wanted)
        assert min(seen.values()) > 60

    def test_a_class_is_not_mirrored(self) -> None:
        _, truth = random_flip(np.zeros((2, 2, 2)), np.array(True), (True, True, True), np.random.default_rng(0))
        assert truth.shape == ()
        assert truth

    def test_the_axes_drawn_do_not_depend_on_which_are_allowed(self) -> None:
        image = np.arange(8).reshape(2, 2, 2)
        for seed in range(10):
            every, _ = random_flip(image, image, (True, True, True), np.random.default_rng(seed))
            rng = np.random.default_rng(seed)
            chosen = tuple(np.flatnonzero(rng.random(3) < 0.5).tolist())
            np.testing.assert_array_equal(every, np.flip(image, chosen))


class TestForeground:
    def test_an_epoch_has_so_many_crops_of_every_case(self, tuning: Make) -> None:
        learner = tuning("lcs", crops_per_case=3)
        assert (learner.samples("train"), learner.samples("validation")) == (12, 6)

    def test_crops_obey_the_target_fraction(self, tuning: Make) -> None:
        free, bound = tuning("lcs"), tuning("lcs", target_fraction=(0.04, 0.5))
        shares = [
            [float(truth.mean()) for seed in range(15) for truth in learner.batch("train", draws(8, seed)).truths]
            for learner in (free, bound)
        ]
        assert np.mean(np.array(shares[0]) < 0.04) > 0.2
        assert np.mean(np.array(shares[1]) >= 0.04) > 0.97

    def test_validation_crops_are_the_same_every_time(self, tuning: Make) -> None:
        learner = tuning("lcs")
        one, again = (learner.batch("validation", draws(4)) for _ in range(2))
        assert torch.equal(one.inputs, again.inputs)

    @pytest.mark.parametrize(
        ("name", "slices", "each"), [("lcs", None, 16), ("ncc", Slices(size=32), 6), ("ncs", Slices(size=32), 1)]
    )
    def test_validation_samples_stay_when_a_case_before_them_becomes_readable(
        self, tuning: Make, labelled: Store, name: str, slices: Slices | None, each: int
    ) -> None:
        learner = tuning(name)
        sampling = learner.task.sampling.model_copy(update={"slices": slices})
        task = learner.task.model_copy(update={"sampling": sampling})
        whole, less = (
            FineTuning(task, learner.network, labelled, learner.ids["train"], ids, 0, learner.device)
            for ids in (labelled.ids[4:], labelled.ids[5:])
        )
        wanted, found = less.batch("validation", draws(each)), whole.batch("validation", draws(2 * each)[each:])
        assert (less.samples("validation"), whole.samples("validation")) == (each, 2 * each)
        assert torch.equal(found.inputs, wanted.inputs)
        assert torch.equal(found.truths, wanted.truths)

    def test_negatives_of_validation_are_limited_and_depend_on_no_position(self, tuning: Make, labelled: Store) -> None:
        learner = tuning("ncc", validation_negatives=2)
        ids, training = labelled.ids[4:], learner.ids["train"]
        turned = FineTuning(learner.task, learner.network, labelled, training, ids[::-1], 1, learner.device)
        chosen = [{crop.id for crop in each.crops["validation"]} for each in (learner, turned)]
        assert chosen[0] == chosen[1]
        assert sorted(crop.positive for crop in learner.crops["validation"]) == [False] * 4 + [True] * 2

    @pytest.mark.parametrize("name", ["ncc", "ncs", "lcs"])
    def test_fine_tuning_lowers_each_loss(self, tuning: Make, name: str) -> None:
        training = {"epochs": 12, "patience": None, "optimiser": {"name": "adam", "lr": 0.01}}
        learner = tuning(name, width=2, training=training, crops_per_case=4)
        losses = [row["train"]["loss"] for row in train(learner, seed=0)]
        assert np.mean(losses[-3:]) < np.mean(losses[:3])
