from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sg_bench.config import Schedule, Stage, Training
from sg_bench.errors import DataError, MethodError, UsageError
from sg_bench.methods.base import Losses
from sg_bench.training.checkpoints import clear_state, load_state, save_state
from sg_bench.training.draws import Draw
from sg_bench.training.fine_tuning import FineTuning
from sg_bench.training.loop import TrainingPart, evaluating, train, weighted_loss
from sg_bench.training.pretraining import Pretraining
from sg_bench.training.ranks import World
from sg_bench.training.steps import total_steps

Make = Callable[..., Pretraining]
ADAM = {"schedule": {"name": "plateau", "every": 1, "min_delta": 10.0}}
SGD = {"optimiser": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "step", "every": 2}}


class StoppedError(Exception):
    """Raised in place of a power cut."""


def stop_at(step: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done == step:
            raise StoppedError

    return progress


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


class Scripted:
    """A learner with one number as its network, and with prescribed losses."""

    def __init__(self, training: Training, validation: list[float], loss: Callable[[Tensor], Tensor]) -> None:
        self.network: nn.Module = nn.Linear(1, 1, bias=False)
        self.weight: Tensor = next(self.network.parameters())
        nn.init.zeros_(self.weight)
        self.device = torch.device("cpu")
        self.stages = [Stage(name="only", training=training, weights={"loss": 1.0})]
        self.script, self.loss = iter(validation), loss
        self.has_validation, self.mean_over_samples = bool(validation), False
        self.weights: list[float] = []

    def samples(self, part: TrainingPart) -> int:
        return 1 if part == "train" or self.has_validation else 0

    def start_epoch(self, stage: int, epoch: int) -> None:
        pass

    def batch(self, part: TrainingPart, draws: list[Draw]) -> str:
        return part

    def losses(self, batch: Any, stage: Stage) -> Losses:
        if batch == "validation":
            self.weights.append(float(self.weight))
            return Losses({"loss": torch.tensor(next(self.script))})
        return Losses({"loss": self.loss(self.weight.sum())})


def scripted(validation: list[float], **training: Any) -> Scripted:
    settings = {"optimiser": {"name": "sgd", "lr": 1.0, "momentum": 0}, "schedule": {"name": "constant"}}
    return Scripted(Training.model_validate({"batch_size": 1, **settings, **training}), validation, lambda w: -w)


def damage_checkpoint(path: Path, damage: str) -> None:
    """Damage a checkpoint, or replace it by one that could be read, but not used."""
    if damage == "flipped":
        raw = bytearray(path.read_bytes())
        middle = len(raw) // 2
        raw[middle : middle + 4096] = bytes(byte ^ 0xFF for byte in raw[middle : middle + 4096])
        path.write_bytes(raw)
        return
    state: Any = torch.load(path, weights_only=True)
    name = next(name for name, tensor in state["network"].items() if tensor.dim() == 5)
    moments = state["optimiser"]["state"]
    wrong = torch.ones(3, 2, 1)
    match damage:
        case "of another network":
            state["network"][name] = wrong
        case "best of another network":
            state["best_weights"][name] = wrong
        case "moments of another network":
            moments[0] = {key: wrong if tensor.dim() else tensor for key, tensor in moments[0].items()}
        case "half of the moments":
            state["optimiser"]["param_groups"][0]["params"] = state["optimiser"]["param_groups"][0]["params"][:2]
        case "a stage that is not there":
            state["stage"] = 7
        case "a list":
            state = [1]
        case _:
            del state[damage.removeprefix("without ")]
    torch.save(state, path)


class TestResuming:
    @pytest.mark.parametrize("settings", [ADAM, SGD], ids=["adam and plateau", "sgd and steps"])
    def test_a_training_stopped_at_several_epochs_ends_as_an_uninterrupted_one_bit_for_bit(
        self, semantic: Make, state_folder: Path, settings: dict[str, Any]
    ) -> None:
        whole, resumed = semantic(**settings), semantic(**settings)
        curves = train(whole, seed=7)
        assert [row["stage"] for row in curves] == ["warm-up"] * 2 + ["joint"] * 4
        assert len({row["lr"] for row in curves if row["stage"] == "joint"}) > 1
        for step in (1, 3, 4, 5, 8, 11, 12):
            resumed = semantic(**settings, seed=step)
            with pytest.raises(StoppedError):
                train(resumed, seed=7, folder=state_folder, progress=stop_at(step), checkpoint_seconds=0)
            if step == 1:
                assert load_state(state_folder) is None
                save_state(state_folder, fresh_state(semantic(**settings)))
        resumed = semantic(**settings, seed=99)
        assert train(resumed, seed=7, folder=state_folder, checkpoint_seconds=0) == curves
        assert same_weights(whole.network, resumed.network)

    def test_each_resumption_goes_on_where_the_last_epoch_ended(self, semantic: Make, state_folder: Path) -> None:
        began: list[int] = []
        for stop in (3, 6, 9):
            with pytest.raises(StoppedError):
                train(semantic(), seed=0, folder=state_folder, progress=stop_at(stop), checkpoint_seconds=0)
            state = load_state(state_folder)
            assert state is not None
            began.append(state["steps"])
        assert began == [2, 4, 8]

    def test_stale_epochs_before_a_stop_count_after_it(self, state_folder: Path) -> None:
        begun = scripted([5, 4, 4], epochs=9, patience=2)
        with pytest.raises(StoppedError):
            train(begun, seed=0, folder=state_folder, progress=stop_at(4), checkpoint_seconds=0)
        assert len(train(scripted([4, 1, 1, 1, 1, 1], epochs=9, patience=2), seed=0, folder=state_folder)) == 4

    @pytest.mark.slow  # tests/e2e/test_faults.py kills whole runs
    def test_a_training_killed_at_random_moments_ends_the_same(self, tmp_path: Path) -> None:
        script = Path(__file__).with_name("killed.py")
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / "state"), "5"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["weights"], report["curves"]) == (True, True)
        places = report["places"]
        assert places == sorted(places)
        assert len({str(place) for place in places}) > 1

    @pytest.mark.parametrize("name", ["ncc", "ncs", "lcs"])
    def test_a_fine_tuning_that_resumes_after_its_last_step_evaluates_the_same(
        self, tuning: Callable[..., FineTuning], state_folder: Path, name: str
    ) -> None:
        whole, stopped, resumed = (
            tuning(name, training={"norm_eval": "reestimated"}, crops_per_case=4) for _ in range(3)
        )
        curves = train(whole, seed=1)
        train(stopped, seed=1, folder=state_folder, checkpoint_seconds=0)
        assert train(resumed, seed=1, folder=state_folder, checkpoint_seconds=0) == curves
        outputs = []
        for learner in (whole, resumed):
            with evaluating(learner, learner.task.training, 1), torch.no_grad():
                outputs.append(learner.network(torch.full((1, 1, 8, 8, 8), 0.5)))
        assert torch.equal(outputs[0], outputs[1])
        assert same_weights(whole.network, resumed.network)

    def test_a_damaged_checkpoint_starts_anew_and_is_kept_aside(self, semantic: Make, state_folder: Path) -> None:
        curves = train(semantic(), seed=0)
        with pytest.raises(StoppedError):
            train(semantic(), seed=0, folder=state_folder, progress=stop_at(7), checkpoint_seconds=0)
        path = state_folder / "last.pt"
        good = path.read_bytes()
        pickle = b"cos\nsystem\n(S'true'\ntR."
        for damaged in (b"", good[: len(good) // 2], bytes(len(good)), b"not a checkpoint", pickle):
            path.write_bytes(damaged)
            assert train(semantic(), seed=0, folder=state_folder) == curves
            assert (state_folder / "last.damaged").read_bytes() == damaged

    @pytest.mark.parametrize(
        "damage",
        [
            "flipped",
            *(
                f"without {field}"
                for field in ("stage", "steps", "history", "best", "best_weights", "network", "optimiser")
            ),
            "of another network",
            "best of another network",
            "moments of another network",
            "half of the moments",
            "a stage that is not there",
            "a list",
        ],
    )
    def test_a_checkpoint_that_does_not_fit_starts_anew_and_is_kept_aside(
        self, semantic: Make, state_folder: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        curves = train(semantic(), seed=0)
        with pytest.raises(StoppedError):
            train(semantic(), seed=0, folder=state_folder, progress=stop_at(7), checkpoint_seconds=0)
        path = state_folder / "last.pt"
        damage_checkpoint(path, damage)
        damaged = path.read_bytes()
        resumed, whole = semantic(), semantic()
        assert train(resumed, seed=0, folder=state_folder) == curves
        assert (state_folder / "last.damaged").read_bytes() == damaged
        train(whole, seed=0)
        assert same_weights(whole.network, resumed.network)
        (line,) = caplog.messages
        assert line.startswith(f"Set aside as last.damaged: {path} (")
        assert "\n" not in line

    def test_without_a_due_checkpoint_nothing_is_written(self, semantic: Make, state_folder: Path) -> None:
        train(semantic(), seed=0, folder=state_folder, checkpoint_seconds=1000)
        assert not state_folder.exists()

    def test_a_cleared_state_is_gone_and_clearing_twice_is_no_error(self, state_folder: Path) -> None:
        save_state(state_folder, {"a": torch.ones(2)})
        (state_folder / "last.damaged").touch()
        clear_state(state_folder)
        clear_state(state_folder)
        assert load_state(state_folder) is None
        assert not state_folder.exists()

    def test_clearing_leaves_what_else_is_in_the_folder(self, state_folder: Path) -> None:
        save_state(state_folder, {"a": torch.ones(2)})
        (state_folder / "encoder.safetensors").touch()
        clear_state(state_folder)
        assert [path.name for path in state_folder.iterdir()] == ["encoder.safetensors"]


def fresh_state(learner: Pretraining) -> dict[str, Any]:
    """Return the state of a training that has not begun, as a checkpoint before the first step would hold it."""
    from sg_bench.training.loop import _TrainingRun

    return _TrainingRun(learner, 7, None, World(), lambda done, total: None, 0).state()


class TestSteps:
    @pytest.mark.parametrize(("samples", "size", "steps"), [(8, 4, 2), (9, 4, 2), (3, 4, 1), (12, 4, 3)])
    def test_an_epoch_is_one_pass_in_full_batches(self, autoencoder: Make, samples: int, size: int, steps: int) -> None:
        learner = autoencoder(samples=samples, batch_size=size, epochs=2)
        assert [row["step"] for row in train(learner, seed=0)] == [steps, 2 * steps]

    def test_steps_stop_inside_an_epoch(self, autoencoder: Make) -> None:
        learner = autoencoder(steps_per_epoch=3, steps=7, epochs=100)
        assert [row["step"] for row in train(learner, seed=0)] == [3, 6, 7]

    def test_steps_are_a_budget_of_all_stages_together(self, semantic: Make) -> None:
        learner = semantic(steps=7)
        rows = train(learner, seed=0)
        assert [(row["stage"], row["step"]) for row in rows] == [
            ("warm-up", 2),
            ("warm-up", 4),
            ("joint", 6),
            ("joint", 7),
        ]
        assert total_steps(learner) == 7

    def test_no_steps_and_no_epochs_leave_the_weights_as_they_are(self, autoencoder: Make) -> None:
        for nothing in ({"steps": 0}, {"epochs": 0}):
            learner = autoencoder(**nothing)
            assert train(learner, seed=0) == []
            assert same_weights(learner.network, autoencoder().network)

    @pytest.mark.parametrize("settings", [{}, {"steps": 5}, {"steps_per_epoch": 3}, {"steps": 1000}])
    def test_progress_counts_every_step_of_all(self, semantic: Make, settings: dict[str, int]) -> None:
        calls: list[tuple[int, int | None]] = []
        learner = semantic(patience=None, **settings)
        rows = train(learner, seed=0, progress=lambda done, total: calls.append((done, total)))
        assert [done for done, _ in calls] == list(range(1, rows[-1]["step"] + 1))
        assert {total for _, total in calls} == {rows[-1]["step"]}

    def test_where_only_patience_ends_a_training_its_length_is_not_known(self, autoencoder: Make) -> None:
        assert total_steps(autoencoder(epochs=10_000, patience=3)) is None

    def test_a_training_without_samples_is_an_error(self, autoencoder: Make) -> None:
        with pytest.raises(DataError, match="no training samples"):
            train(autoencoder(samples=0), seed=0)


class TestFailures:
    def test_a_loss_that_is_not_a_number_names_stage_and_step(self) -> None:
        learner = scripted([], steps_per_epoch=5, epochs=3)
        calls = iter(range(100))
        learner.loss = lambda weight: weight * (math.nan if next(calls) == 7 else 1)
        with pytest.raises(MethodError, match=r"'loss' became nan in stage 'only' by step 10 \(lr 1\).*lr"):
            train(learner, seed=0)

    def test_an_infinite_validation_loss_ends_it_too(self) -> None:
        with pytest.raises(MethodError, match="'loss' became inf in stage 'only' by step 2"):
            train(scripted([1.0, math.inf], epochs=5), seed=0)

    def test_a_diverging_network_ends_with_a_method_error(self, autoencoder: Make) -> None:
        learner = autoencoder(optimiser={"name": "sgd", "lr": 1e30}, epochs=20, norm_eval="running")
        with pytest.raises(MethodError, match="stage 'pretrain'"):
            train(learner, seed=0)

    def test_a_weight_without_its_term_is_an_error(self) -> None:
        stage = Stage(name="joint", training=Training(), weights={"restoraton": 1.0})
        with pytest.raises(MethodError, match=r"weighs 'restoraton', but .*\['restoration'\]"):
            weighted_loss(Losses({"restoration": torch.tensor(1.0)}), stage)

    def test_a_term_without_a_weight_does_not_count(self) -> None:
        stage = Stage(name="joint", training=Training(), weights={"a": 2.0, "b": 0.5})
        terms = {"a": torch.tensor(1.0), "b": torch.tensor(4.0), "c": torch.tensor(100.0)}
        assert weighted_loss(Losses(terms), stage) == 4.0

    def test_workers_that_cannot_share_a_batch_evenly_are_refused(self, autoencoder: Make) -> None:
        with pytest.raises(UsageError, match="3 workers cannot share batches of 4"):
            train(autoencoder(), seed=0, world=World(0, 3))


class TestStopping:
    def test_patience_counts_epochs_without_a_better_validation_loss(self) -> None:
        rows = train(scripted([5, 4, 4, 4.5, 3, 3, 3, 1, 2, 2, 2, 0], epochs=100, patience=3), seed=0)
        assert [row["best"] for row in rows] == [bool(int(flag)) for flag in "11001001000"]

    def test_stale_epochs_end_it(self) -> None:
        assert len(train(scripted([5, 4, 4, 4.5, 1], epochs=100, patience=2), seed=0)) == 4

    def test_the_best_weights_come_back(self) -> None:
        learner = scripted([5, 4, 3, 6, 7], epochs=5)
        train(learner, seed=0)
        assert learner.weights == [1, 2, 3, 4, 5]  # the loss pulls the weight up by one each step
        assert learner.weight.item() == 3

    def test_without_patience_all_epochs_are_trained(self) -> None:
        assert len(train(scripted([1, 2, 3, 4, 5], epochs=5, patience=None), seed=0)) == 5

    def test_without_validation_the_training_loss_decides(self) -> None:
        learner = scripted([], epochs=4)
        rows = train(learner, seed=0)
        assert "validation" not in rows[0]
        assert learner.weight.item() == 4

    def test_each_stage_returns_its_best_weights_to_the_next(self, semantic: Make) -> None:
        alone, both = semantic(patience=None), semantic(patience=None)
        alone.stages = alone.stages[:1]
        train(alone, seed=3)
        seen: list[dict[str, Tensor]] = []
        original = both.start_epoch

        def start(stage: int, epoch: int) -> None:
            if (stage, epoch) == (1, 0):
                seen.append({name: tensor.clone() for name, tensor in both.network.state_dict().items()})
            original(stage, epoch)

        both.start_epoch = start  # type: ignore[method-assign]
        train(both, seed=3)
        wanted = alone.network.state_dict()
        assert all(torch.equal(wanted[name], tensor) for name, tensor in seen[0].items())


class TestSchedules:
    def rates(self, validation: list[float], schedule: dict[str, Any], **budget: int) -> list[float]:
        settings = {"epochs": len(validation), "patience": None, "schedule": schedule, **budget}
        rows = train(scripted(validation, **settings), seed=0)
        return [row["lr"] for row in rows]

    def test_a_plateau_of_n_epochs_brings_a_fall_as_in_keras(self) -> None:
        plateau = {"name": "plateau", "every": 2, "factor": 0.5}
        assert self.rates([1, 1, 1, 1, 1, 1], plateau) == [1, 1, 1, 0.5, 0.5, 0.25]

    def test_less_than_the_least_gain_does_not_end_a_plateau(self) -> None:
        plateau = {"name": "plateau", "every": 2, "min_delta": 0.1}
        assert self.rates([1, 0.95, 0.91, 0.5, 0.4], plateau) == [1, 1, 1, 0.5, 0.5]

    def test_the_rate_never_falls_below_its_least(self) -> None:
        assert self.rates([1] * 6, {"name": "plateau", "every": 1, "min_lr": 0.3})[-1] == 0.3

    @pytest.mark.parametrize("budget", [{}, {"steps": 5}])
    def test_steps_fall_every_so_many_epochs_whatever_the_budget(self, budget: dict[str, int]) -> None:
        step = {"name": "step", "every": 2, "factor": 0.1}
        assert self.rates([1] * 5, step, **budget) == pytest.approx([1, 1, 0.1, 0.1, 0.01])

    COSINE = {"name": "cosine", "min_lr": 0.01}

    def test_cosine_over_epochs_falls_by_epoch_towards_its_least(self) -> None:
        wanted = [0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
        assert self.rates([1] * 4, self.COSINE) == pytest.approx(wanted)

    @pytest.mark.parametrize(
        ("budget", "ends"),
        [
            ({"steps": 6}, [1, 2, 3, 4, 5, 6]),
            ({"steps": 7, "steps_per_epoch": 3}, [3, 6, 7]),
            ({"steps": 5, "steps_per_epoch": 100}, [5]),
            ({"steps": 100, "steps_per_epoch": 2, "epochs": 3}, [2, 4, 6]),
        ],
        ids=["whole epochs", "inside an epoch", "inside the first epoch", "epochs end first"],
    )
    def test_cosine_under_a_step_budget_reaches_its_least_with_the_last_step(
        self, budget: dict[str, int], ends: list[int]
    ) -> None:
        learner = scripted([], **{"epochs": 10_000, "patience": None, "schedule": self.COSINE} | budget)
        rows = train(learner, seed=0)
        wanted = [0.01 + 0.99 * (1 + math.cos(math.pi * step / ends[-1])) / 2 for step in ends]
        assert [row["step"] for row in rows] == ends
        assert [row["lr"] for row in rows] == pytest.approx(wanted)
        assert rows[-1]["lr"] == 0.01

    def test_each_stage_has_a_cosine_of_its_own_part_of_the_step_budget(self, semantic: Make) -> None:
        schedule = {"name": "cosine", "min_lr": 1e-5}
        rows = train(semantic(steps=9, steps_per_epoch=3, warm_up=2, patience=None, schedule=schedule), seed=0)
        assert [(row["stage"], row["step"]) for row in rows] == [("warm-up", 3), ("warm-up", 6), ("joint", 9)]
        assert [row["lr"] for row in rows] == pytest.approx([(1e-3 + 1e-5) / 2, 1e-5, 1e-5])

    def test_a_cosine_counts_the_balanced_samples_of_an_epoch(self, tuning: Callable[..., FineTuning]) -> None:
        budget = {"steps": 100, "epochs": 3, "patience": None, "schedule": self.COSINE}
        rows = train(tuning("ncc", training=budget), seed=0)
        assert (rows[-1]["step"], rows[-1]["lr"]) == (6, 0.01)

    def test_an_interrupted_cosine_goes_on_inside_its_step_budget(self, semantic: Make, state_folder: Path) -> None:
        settings: dict[str, Any] = {"steps": 11, "schedule": {"name": "cosine"}, "patience": None}
        curves = train(semantic(**settings), seed=0)
        with pytest.raises(StoppedError):
            train(semantic(**settings), seed=0, folder=state_folder, progress=stop_at(9), checkpoint_seconds=0)
        assert train(semantic(**settings), seed=0, folder=state_folder, checkpoint_seconds=0) == curves
        assert curves[-1]["lr"] == 1e-6

    def test_a_constant_rate_stays(self) -> None:
        assert self.rates([1] * 3, {"name": "constant"}) == [1] * 3

    def test_defaults_are_the_published_ones(self) -> None:
        schedule = Schedule()
        assert (schedule.factor, schedule.min_delta, schedule.min_lr) == (0.5, 1e-4, 1e-6)


class TestEvaluation:
    def test_validation_transforms_are_the_same_every_time(self, semantic: Make) -> None:
        learner = semantic(validation=6, optimiser={"name": "sgd", "lr": 1e-30}, norm_eval="batch")
        rows = train(learner, seed=0)
        for stage in ("warm-up", "joint"):
            assert len({str(row["validation"]) for row in rows if row["stage"] == stage}) == 1
            assert len({str(row["train"]) for row in rows if row["stage"] == stage}) > 1

    def test_the_validation_loss_weighs_samples_not_batches(self, autoencoder: Make) -> None:
        sizes = [
            train(autoencoder(validation=5, batch_size=size, steps=1, norm_eval="running", **SGD_OFF), seed=0)
            for size in (4, 5)
        ]
        assert sizes[0][0]["validation"]["loss"] == pytest.approx(sizes[1][0]["validation"]["loss"], rel=1e-2)

    @pytest.mark.parametrize("mode", ["running", "reestimated", "batch"])
    def test_statistics_in_evaluation_are_those_that_norm_eval_names(self, autoencoder: Make, mode: str) -> None:
        learner = autoencoder(norm_eval=mode)
        images = torch.rand(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
        network, training = learner.network, learner.stages[0].training
        before = {name: tensor.clone() for name, tensor in network.named_buffers()}
        with torch.no_grad():
            modes = [network.training]
            with evaluating(learner, training, 0):
                modes.append(network.training)
                found = network(images)
            modes.append(network.training)
            changed = any(not torch.equal(before[name], tensor) for name, tensor in network.named_buffers())
            assert changed == (mode == "reestimated")
            as_trained = network(images)
        assert modes == [True, False, True]
        assert torch.allclose(found, as_trained, atol=1e-6) == (mode == "batch")

    def test_reestimated_statistics_do_not_depend_on_what_was_trained_last(self, autoencoder: Make) -> None:
        found = []
        for momentum in (0.1, 0.9):
            learner = autoencoder(norm_eval="reestimated", optimiser={"name": "sgd", "lr": 1e-30})
            for module in learner.network.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.momentum = momentum
            train(learner, seed=0)
            found.append(dict(learner.network.named_buffers())["down_tr64.ops.0.bn1.running_mean"])
        assert torch.equal(found[0], found[1])

    def test_reestimation_sees_samples_of_every_kind(self, tuning: Callable[..., FineTuning]) -> None:
        learner = tuning("ncc", training={"norm_eval": "reestimated"})
        seen: list[bool] = []
        original = learner.batch

        def batch(part: Any, draws: list[Draw]) -> Any:
            made = original(part, draws)
            seen.extend(made.truths.flatten().tolist())
            return made

        learner.batch = batch  # type: ignore[method-assign]
        with evaluating(learner, learner.task.training, 0):
            pass
        assert np.mean(seen) == 0.5


SGD_OFF: dict[str, Any] = {"optimiser": {"name": "sgd", "lr": 1e-30}}


class TestReproducibility:
    def test_the_same_seed_gives_the_same_bits_and_another_seed_others(self, semantic: Make) -> None:
        learners = [semantic() for _ in range(3)]
        curves = [train(learner, seed=seed) for learner, seed in zip(learners, (4, 4, 5), strict=True)]
        assert curves[0] == curves[1] != curves[2]
        assert same_weights(learners[0].network, learners[1].network)
        assert not same_weights(learners[0].network, learners[2].network)

    def test_training_lowers_the_loss(self, autoencoder: Make) -> None:
        rows = train(autoencoder(epochs=15, optimiser={"name": "adam", "lr": 0.01}), seed=0)
        assert rows[-1]["train"]["loss"] < rows[0]["train"]["loss"]
