"""The ledger's numbers are those of the stored predictions, and where they are not, both are kept."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench import __version__
from sg_bench.digests import npz_digest
from sg_bench.evaluation import rescoring
from sg_bench.evaluation.metrics import mean_iou_keras, mean_iou_keras_stream
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.rescoring import rescore
from sg_bench.ledger import Ledger, merge
from sg_bench.statistics.variance import bootstrap_scores
from sg_bench.workspace import Workspace
from tests.evaluation.scored_cells import classified, got, put, segmented


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


class TestComparing:
    @pytest.mark.parametrize("task", ["ncs", "ncc", "dxc"])
    def test_what_a_cell_wrote_is_what_its_predictions_say(self, work: Workspace, task: str) -> None:
        found = rescore(got(work, put(work, task)), work)
        assert (found.state, found.changes, found.rows, found.reason) == ("same", (), 0, "")
        assert ("auc_Hernia" in found.metrics) == (task == "dxc")

    def test_a_metric_that_differs_is_told_with_both_values(self, work: Workspace) -> None:
        found = rescore(got(work, put(work, iou_bin=0.25, dice_bin=None, retired=0.5)), work)
        changes = {change.name: (change.old, change.new) for change in found.changes}
        assert found.state == "differs"
        assert changes == {
            "iou_bin": ("0.25", repr(found.metrics["iou_bin"])),
            "dice_bin": ("undefined", repr(found.metrics["dice_bin"])),
            "retired": ("0.5", "absent"),
        }

    def test_the_rounding_of_another_library_is_no_difference(self, work: Workspace) -> None:
        key = put(work)
        record = got(work, key)
        for shift, state in ((1e-15, "same"), (1e-9, "differs")):
            moved = {name: value + shift for name, value in record["metrics"].items()}
            assert rescore({**record, "metrics": moved}, work).state == state

    def test_a_row_that_differs_is_counted_and_its_patient_is_no_difference(self, work: Workspace) -> None:
        record = got(work, put(work))
        rows = [dict(row) for row in record["cases"]]
        rows[2]["both"] += 1
        found = rescore({**record, "cases": rows[:-1]}, work)
        assert (found.state, found.changes, found.rows) == ("differs", (), 2)
        assert [row.get("patient") for row in found.cases] == ["p0", "p1", "p2", "p3", None]

    def test_predictions_that_are_absent_or_others_prove_nothing(self, work: Workspace) -> None:
        key, other = put(work), put(work, seed=1)
        record, path = got(work, key), work.path("predictions", f"{key}.npz")
        assert rescore({**record, "outputs": {}}, work).state == "damaged"
        path.write_bytes(work.path("predictions", f"{other}.npz").read_bytes())
        found = rescore(record, work)
        assert (found.state, found.metrics) == ("damaged", {})
        assert record["outputs"]["predictions"][:12] in found.reason
        path.unlink()
        assert rescore(record, work).state == "missing"

    def test_what_cannot_be_scored_any_more_says_why(self, work: Workspace) -> None:
        record = got(work, put(work, "ncc"))
        path = work.path("predictions", f"{record['key']}.npz")
        made = classified(0, 1)
        Predictions(made.probabilities, {id_: np.zeros_like(truth) for id_, truth in made.truths.items()}).save(path)
        found = rescore({**record, "outputs": {"predictions": npz_digest(path)}}, work)
        assert found.state == "damaged"
        assert "0 of 12 cases are positive" in found.reason

    def test_the_streamed_metric_is_that_of_the_cases_by_sorted_id(self, work: Workspace) -> None:
        made = segmented(0)
        parts = [made.probabilities[id_] for id_ in sorted(made.truths)], [made.truths[i] for i in sorted(made.truths)]
        found = rescore(got(work, put(work)), work, stream=2)
        assert found.streamed == mean_iou_keras_stream(*parts, 2) != mean_iou_keras(*parts)
        assert "mean_iou_keras_stream" not in found.metrics
        assert rescore(got(work, put(work, "ncc")), work, stream=2).streamed is None


class TestWriting:
    def test_new_values_stand_in_the_record_and_the_old_ones_beside_them(self, work: Workspace) -> None:
        key = put(work, iou_bin=0.25)
        before = got(work, key)
        found = rescore(before, work)
        assert rescoring.write(found, Ledger(work))
        after = got(work, key)
        assert after["metrics"] == found.metrics != before["metrics"]
        (kept,) = after["rescored"]
        assert (kept["version"], kept["metrics"]) == (__version__, before["metrics"])
        assert kept["tables"] == {"cases": before["tables"]["cases"]}
        assert {name: after[name] for name in before.keys() - {"metrics"}} == {
            name: before[name] for name in before.keys() - {"metrics"}
        }
        assert rescore(after, work).state == "same"

    def test_what_is_the_same_is_not_written(self, work: Workspace) -> None:
        key = put(work)
        path = work.path("cells", f"{key}.json")
        first = path.read_bytes()
        assert not rescoring.write(rescore(got(work, key), work), Ledger(work))
        assert path.read_bytes() == first

    def test_each_rescoring_adds_to_what_is_kept(self, work: Workspace) -> None:
        key, ledger = put(work), Ledger(work)
        cases = got(work, key)["cases"]
        for value in (0.1, 0.2, 0.2):
            ledger.rescore(key, {"iou_bin": value}, cases, "9")
        kept = got(work, key)["rescored"]
        assert [each["metrics"]["iou_bin"] for each in kept] == [
            pytest.approx(rescore(got(work, key), work).metrics["iou_bin"]),
            0.1,
        ]

    def test_a_ledger_that_has_the_old_numbers_is_in_no_conflict(self, work: Workspace, tmp_path: Path) -> None:
        key = put(work, iou_bin=0.25)
        old = got(work, key)
        rescoring.write(rescore(old, work), Ledger(work))
        new = got(work, key)
        for first, second in ((old, new), (new, old)):
            ledger = Ledger(Workspace(tmp_path / first["cases"][0]["case"] / str("rescored" in first)))
            ledger.put(first)
            assert ledger.take(second, work.path("cells")) == "known"
            assert ledger.conflicts() == {}
            assert got(ledger.workspace, key) == first

    def test_a_cell_computed_again_by_the_new_version_is_in_no_conflict_and_another_outcome_is(
        self, work: Workspace
    ) -> None:
        key = put(work, iou_bin=0.25)
        rescoring.write(rescore(got(work, key), work), Ledger(work))
        record = got(work, key)
        again = {name: value for name, value in record.items() if name != "rescored"}
        cells = work.path("cells")
        assert Ledger(work).take(again, cells) == "known"
        assert Ledger(work).take({**again, "metrics": {"iou_bin": 0.9}}, cells) == "conflict"
        assert got(work, key) == record

    def test_predictions_come_along_when_a_rescored_ledger_is_merged(self, work: Workspace, tmp_path: Path) -> None:
        key = put(work, iou_bin=0.25)
        into = Workspace(tmp_path / "into")
        Ledger(into).put(got(work, key))
        rescoring.write(rescore(got(work, key), work), Ledger(work))
        merged = merge([work.root], into)
        assert (merged.known, merged.predictions, merged.conflicts, merged.damaged) == (1, 1, [], [])

    def test_the_bootstrap_by_patient_goes_on_after_it(self, work: Workspace) -> None:
        key = put(work, iou_bin=0.25)
        before = bootstrap_scores(got(work, key)["cases"], ["iou_bin"])["iou_bin"]
        rescoring.write(rescore(got(work, key), work), Ledger(work))
        assert all(row["patient"] for row in got(work, key)["cases"])
        after = bootstrap_scores(got(work, key)["cases"], ["iou_bin"])["iou_bin"]
        assert after.tolist() == before.tolist()

    def test_killed_in_the_middle_each_record_is_old_or_new_and_the_same_command_ends_it(
        self, work: Workspace, tmp_path: Path
    ) -> None:
        keys = sorted(put(work, seed=seed, iou_bin=0.25) for seed in range(3))
        old = {key: got(work, key) for key in keys}
        child = os.fork()
        if child == 0:
            die_at_the_second_write(work)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        states = [rescore(record, work).state for record in Ledger(work).records()]
        assert states == ["same", "differs", "differs"]
        assert [got(work, key) for key in keys[1:]] == [old[key] for key in keys[1:]]
        assert list(work.path("cells").glob(".*")) != []  # what the killed write left is no record
        for record in Ledger(work).records():
            rescoring.write(rescore(record, work), Ledger(work))
        for key in keys:
            (kept,) = got(work, key)["rescored"]
            assert kept["metrics"] == old[key]["metrics"]
            assert rescore(got(work, key), work).state == "same"


def die_at_the_second_write(work: Workspace) -> None:
    """Score all cells again and write them; be killed between the second record's bytes and its name."""
    count, sync = [0], os.fsync

    def fsync(fd: Any) -> None:
        sync(fd)
        count[0] += 1
        if count[0] == 3:  # the first record's file and its folder, then the second record's file
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    try:
        for record in Ledger(work).records():
            rescoring.write(rescore(record, work), Ledger(work))
    finally:
        os._exit(0)


@pytest.mark.parametrize(
    ("states", "written", "code"),
    [
        (["same", "same"], False, 0),
        (["same", "differs"], False, 1),
        (["same", "differs"], True, 0),
        (["missing", "same"], False, 3),
        (["damaged"], True, 3),
        (["differs", "missing"], False, 1),
        (["differs", "missing"], True, 3),
    ],
)
def test_the_exit_code_says_the_worst(states: list[rescoring.PredictionState], written: bool, code: int) -> None:
    assert rescoring.exit_code([rescoring.Rescored("", state) for state in states], written=written) == code
