"""Checks speak of what was computed, also where some of what it stood on is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.data.cubes import ArrayCubes
from sg_bench.evaluation.predictions import Predictions
from sg_bench.ledger import Ledger
from sg_bench.methods import Promise
from sg_bench.methods.simclr import SimCLR
from sg_bench.networks.weights import save_initialisation
from sg_bench.planning import Job, Plan, plan
from sg_bench.registry import METHODS
from sg_bench.running import checks, promises
from sg_bench.running.checks import INPUTS, check
from sg_bench.suite import Suite
from sg_bench.training.pretraining import fresh_network
from sg_bench.workspace import Workspace, write_atomic, write_json

SUITE: dict[str, Any] = {
    "name": "mine",
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["semantic_genesis"],
    "tasks": ["ncs[data=phantom]"],
}
SMALL_MOCO: dict[str, Any] = {
    "crops": {"cube": [16, 16, 8]},
    "projection": {"hidden": 4, "outputs": 4},
    "queue": 4,
}


@pytest.fixture
def planned() -> Plan:
    return plan(Suite.model_validate(SUITE))


def curve(*losses: float, accuracy: float = 0.9) -> list[dict[str, Any]]:
    return [{"stage": "only", "train": {"loss": loss}, "validation": {"accuracy": accuracy}} for loss in losses]


def settle(found: Plan, workspace: Workspace, *losses: float) -> None:
    for job in found.of_kind("cell"):
        Ledger(workspace).put(
            {"key": job.key, "status": "done", "recipe": job.recipe.key_content(), "curves": curve(*losses)}
        )


def test_repeating_earlier_results_imports_neither_torch_nor_scipy() -> None:
    code = "import sys, sg_bench.running.checks; print([name for name in ('scipy', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("losses", "holds"), [((3.0, 4.0, 2.0), True), ((2.0, 1.0, 2.5), False)])
def test_losses_fall_from_the_first_epoch_to_the_last(
    planned: Plan, tmp_path: Path, losses: tuple[float, ...], holds: bool
) -> None:
    settle(planned, Workspace(tmp_path), *losses)
    assert check("losses_fall", planned, Workspace(tmp_path)).holds == holds


def test_an_initialisation_that_is_gone_is_passed_over(planned: Plan, tmp_path: Path) -> None:
    settle(planned, Workspace(tmp_path), 2.0, 1.0)
    assert check("losses_fall", planned, Workspace(tmp_path)).detail == "1 curves"
    assert check("pseudo_labels_above_chance", planned, Workspace(tmp_path)).holds


def test_a_task_is_learnt_where_a_method_beats_the_best_constant_prediction(planned: Plan, tmp_path: Path) -> None:
    workspace, (job,) = Workspace(tmp_path), planned.of_kind("cell")
    halves = {"a": np.array([1, 1, 0, 0], np.uint8), "b": np.array([0, 0, 1, 1], np.uint8)}  # everything: IoU .5
    record = {"key": job.key, "status": "done", "recipe": job.recipe.key_content(), "headline": "iou_bin"}
    assert check("tasks_learnt", planned, workspace).detail == "does not apply: no predictions"
    for score, wanted in (
        (0.51, "ncs[data=phantom]: 51.00 % at best, a constant prediction 50.00 %"),
        (0.5, "ncs[data=phantom]: 50.00 % at best, a constant prediction 50.00 %; not learnt by semantic_genesis"),
    ):
        Predictions(halves, halves).save(workspace.path("predictions", f"{job.key}.npz"))
        workspace.path("cells", f"{job.key}.json").unlink(missing_ok=True)
        Ledger(workspace).put({**record, "metrics": {"iou_bin": score}, "outputs": {}})
        found = check("tasks_learnt", planned, workspace)
        assert (found.holds, found.detail) == (score > 0.5, wanted)
    workspace.path("cells", f"{job.key}.json").unlink()
    Ledger(workspace).put({**record, "metrics": {"iou_bin": None}, "outputs": {}})
    found = check("tasks_learnt", planned, workspace)
    assert (found.holds, "undefined at best" in found.detail) == (False, True)


def pretrained(found: Plan, workspace: Workspace, **values: list[float]) -> None:
    (job,) = found.of_kind("initialisation")
    count = len(next(iter(values.values())))
    rows = [{"stage": "pretrain", "train": {name: values[name][row] for name in values}} for row in range(count)]
    write_json(workspace.path("initialisations", job.key) / "record.json", {"curves": rows})


class TestPretrainingImproves:
    @pytest.mark.parametrize(("losses", "holds"), [([3.0, 4.0, 2.0], True), ([2.0, 2.0], False)])
    def test_a_promised_loss_falls(self, tmp_path: Path, losses: list[float], holds: bool) -> None:
        found, workspace = plan(Suite.model_validate({**SUITE, "methods": ["simclr"]})), Workspace(tmp_path)
        pretrained(found, workspace, loss=losses)
        verdict = check("pretraining_improves", found, workspace)
        assert verdict.holds == holds
        assert f"loss: {losses[0]:.4f} to {losses[-1]:.4f}" in verdict.detail

    @pytest.mark.parametrize(("accuracies", "holds"), [([0.1, 0.4], True), ([0.4, 0.1], False)])
    def test_a_promised_measure_rises(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], holds: bool
    ) -> None:
        found, workspace = plan(Suite.model_validate({**SUITE, "methods": ["simclr"]})), Workspace(tmp_path)
        monkeypatch.setattr(SimCLR, "promise", Promise("measure", "instance_accuracy"))
        pretrained(found, workspace, loss=[1.0, 2.0], instance_accuracy=accuracies)
        assert check("pretraining_improves", found, workspace).holds == holds

    @pytest.mark.parametrize("seed", [0, 1])
    def test_a_promised_probe_compares_the_last_weights_with_the_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        suite = {**SUITE, "methods": ["moco_v2"], "width": 1, "pretraining": SMALL_MOCO}
        found, workspace = plan(Suite.model_validate(suite)), Workspace(tmp_path)
        pretrained(found, workspace, loss=[1.0, 2.0])
        (job,) = found.of_kind("initialisation")
        method = METHODS.load("moco_v2")(job.recipe.config)
        folder = workspace.path("initialisations", job.key)
        save_initialisation(folder, *method.initialisation(fresh_network(method, seed)))
        cubes = ArrayCubes(np.random.default_rng(0).random((4, 16, 16, 8), np.float32))
        monkeypatch.setattr(promises, "pretraining_cubes", lambda *_: (cubes, cubes))
        monkeypatch.setattr(promises, "is_built", lambda *_: True)
        ((improved, detail),) = promises.improvements(found, workspace)
        before, after = detail.rstrip(")").partition("probe: ")[2].split(" to ")
        assert (before == after) == (seed == 0)
        assert improved == (float(after) > float(before))

    def test_a_pretraining_that_is_gone_or_that_trains_nothing_is_passed_over(self, tmp_path: Path) -> None:
        found = plan(Suite.model_validate({**SUITE, "methods": ["scratch", "moco_v2"]}))
        verdict = check("pretraining_improves", found, Workspace(tmp_path))
        assert (verdict.holds, verdict.detail) == (True, "does not apply: nothing to pretrain")


@pytest.mark.parametrize(("accuracy", "holds"), [(0.9, True), (0.02, False)])
def test_pseudo_labels_are_held_against_chance(planned: Plan, tmp_path: Path, accuracy: float, holds: bool) -> None:
    workspace = Workspace(tmp_path)
    for job in planned.of_kind("initialisation"):
        rows = curve(2.0, 1.0, accuracy=accuracy)
        write_json(workspace.path("initialisations", job.key) / "record.json", {"curves": rows})
    (patterns,) = planned.of_kind("patterns")
    windows = [{"validation": row % 2 == 0} for row in range(100)]
    write_json(workspace.path("patterns", patterns.key) / "index.json", {"windows": windows})
    verdict = check("pseudo_labels_above_chance", planned, workspace)
    assert verdict.holds == holds
    assert "of 50 cubes" in verdict.detail


def test_methods_that_use_the_cubes_but_not_their_pseudo_labels_are_held_against_nothing(tmp_path: Path) -> None:
    found, workspace = plan(Suite.model_validate({**SUITE, "methods": ["self_restoration"]})), Workspace(tmp_path)
    for job in found.of_kind("initialisation"):
        rows = [{"stage": "pretrain", "train": {"loss": 1.0}, "validation": {"loss": 1.0}}]
        write_json(workspace.path("initialisations", job.key) / "record.json", {"curves": rows})
    (patterns,) = found.of_kind("patterns")
    write_json(workspace.path("patterns", patterns.key) / "index.json", {"windows": [{"validation": True}]})
    verdict = check("pseudo_labels_above_chance", found, workspace)
    assert verdict.holds
    assert "no pseudo-labels" in verdict.detail


class TestDeterministic:
    """A cell is computed again by `work`, here by a stand-in that runs in the same way in another process."""

    @pytest.fixture
    def workspace(self, planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
        workspace = Workspace(tmp_path / "work")
        write_atomic(workspace.path("lists", "fold.txt"), "p0\n")
        (job,) = planned.of_kind("cell")
        Ledger(workspace).put(computed(job))
        return workspace

    def repeated(self, planned: Plan, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
        def again(job: Job, workspace: Workspace, folder: Path) -> Ledger:
            for namespace in INPUTS:
                assert workspace.path(namespace).parent == workspace.root
            ledger = Ledger(Workspace(folder))
            ledger.put({**computed(job), **changes})
            return ledger

        monkeypatch.setattr(checks, "_computed_again", again)
        return check("deterministic", planned, workspace)

    def test_the_same_cell_holds(self, planned: Plan, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.repeated(planned, workspace, monkeypatch)
        assert (found.holds, found.detail.endswith("computed twice")) == (True, True)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metrics": {"iou_bin": 0.6}}, "metrics.iou_bin: 0.5 -> 0.6"),
            ({"outputs": {"predictions": "22"}}, "outputs.predictions: 11 -> 22"),
            ({"cases": [{"case": "a", "dice_case": 0.25}]}, "cases: 1 of 1 rows, first row 0: dice_case: 0.5 -> 0.25"),
            ({"cases": []}, "cases: 1 rows -> 0 rows"),
            ({"curves": curve(2.0, 1.5)}, "curves: 1 of 2 rows, first row 1: train.loss: 1.0 -> 1.5"),
            (
                {"status": "failed", "error": {"kind": "data", "message": "no list"}},
                "the second time it failed: no list",
            ),
        ],
    )
    def test_it_names_what_differs(
        self,
        planned: Plan,
        workspace: Workspace,
        monkeypatch: pytest.MonkeyPatch,
        changes: dict[str, Any],
        message: str,
    ) -> None:
        found = self.repeated(planned, workspace, monkeypatch, **changes)
        assert not found.holds
        assert message in found.detail

    def test_a_digest_of_a_file_is_not_compared_with_one_of_content(
        self, planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace = Workspace(tmp_path)
        (job,) = planned.of_kind("cell")
        write_json(workspace.path("cells", f"{job.key}.json"), {"schema": 1, **computed(job)})
        assert self.repeated(planned, workspace, monkeypatch, outputs={"predictions": "22"}).holds

    def test_lists_of_patients_are_among_the_inputs_of_the_second_computation(
        self, planned: Plan, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (job,) = planned.of_kind("cell")
        monkeypatch.setattr("sg_bench.running.local.work", read_a_list)
        (tmp_path / "again").mkdir()
        ledger = checks._computed_again(job, workspace, tmp_path / "again")
        assert (ledger.get(job.key) or {})["counts"] == {"test": 1}


def computed(job: Job) -> dict[str, Any]:
    recipe = job.recipe.key_content()
    record = {"key": job.key, "status": "done", "recipe": recipe, "metrics": {"iou_bin": 0.5}, "error": None}
    more = {"cases": [{"case": "a", "dice_case": 0.5}], "curves": curve(2.0, 1.0), "outputs": {"predictions": "11"}}
    return {**record, **more, "ran": {"processor_seconds": 1.0}}


def read_a_list(job: Job, folder: Path) -> None:
    """Compute a cell from nothing but a list of the workspace."""
    ids = (folder / "lists" / "fold.txt").read_text().split()
    Ledger(Workspace(folder)).put({**computed(job), "counts": {"test": len(ids)}})
