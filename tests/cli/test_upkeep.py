"""The commands that look after runs and the workspace: status, retry, clean, doctor, and what they print as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sg_bench.cli.selection import select
from sg_bench.ledger import Ledger
from sg_bench.machine import hardware
from sg_bench.planning import Measurement, Plan, cost_name, hardware_name, keep_measurement, registered
from sg_bench.running.doctor import Finding
from sg_bench.running.progress import reporter
from sg_bench.workspace import Workspace
from tests.cli.conftest import Ask, finish, write

SUITE: dict[str, Any] = {
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch"],
    "tasks": ["ncs[data=phantom]"],
    "fine_tuning_seeds": "0-1",
}


def planned() -> Plan:
    return select(write(SUITE)).plan


def measured(found: Plan) -> None:
    for job in found.jobs.values():
        name = hardware_name(hardware())
        keep_measurement(Workspace.default(), name, cost_name(job.recipe), Measurement(job_seconds=60.0), job.title)


class TestPlan:
    def test_a_price_that_is_not_known_names_the_command(self, ask: Ask) -> None:
        planned()
        answer = ask("plan", "--suite", "mine.yaml")
        assert "Price unknown" in answer.out
        assert "sg-bench plan --suite mine.yaml --measure" in answer.out

    def test_the_price_and_what_fits_are_printed(self, ask: Ask) -> None:
        measured(planned())
        answer = ask("plan", "--suite", "mine.yaml", "--jobs", "1", "--budget-hours", "0.06", "--nodes", "2")
        assert "device time       about 4 min" in answer.out
        assert "1 of 2 cells fit" in answer.out
        assert "network" in answer.out
        assert "sg-bench run --suite mine.yaml --tasks 'ncs[data=phantom]' --seeds 0" in answer.out

    def test_it_is_there_as_json(self, ask: Ask) -> None:
        measured(planned())
        found = json.loads(ask("plan", "--suite", "mine.yaml", "--budget-hours", "1", "--cpus", "4", "--json").out)
        assert found["jobs"]["cell"] == {"planned": 2, "to_compute": 2, "missing": 0}
        assert found["price"]["device_seconds"] == {"least": 240.0, "most": 240.0}
        assert found["machines"]["processes"] == 4
        assert [each["fits"] for each in found["budget"]["portions"]] == [True, True]

    def test_hardware_that_was_not_measured_is_refused(self, ask: Ask) -> None:
        measured(planned())
        write({**SUITE, "corpora": {}})  # which has no effect, and a warning of its own
        ask("plan", "--suite", "mine.yaml", "--hardware", "H900").refused("'H900'", "Known: ", "cores")


class TestStatus:
    def test_it_shows_what_runs(self, ask: Ask) -> None:
        found, workspace = planned(), Workspace.default()
        job = found.of_kind("cell")[0]
        with registered(found, found.pending(workspace), workspace, slots=3, log=print):
            time.sleep(0.01)
            finish(found, only=1)
            reporter(workspace, found.of_kind("cell")[1].key)(3, 10)
            answer = ask("status", "--suite", "mine.yaml")
            content = json.loads(ask("status", "--suite", "mine.yaml", "--why", "--json").out)
        assert "Running: suite mine" in answer.out
        assert "fine-tune: scratch on ncs[data=phantom], seeds 0/1, 30% done" in answer.out
        assert "cells a minute" in answer.out
        assert content["cells"] == [
            {"method": "scratch", "task": "ncs[data=phantom]", "done": 1, "failed": 0, "to_compute": 1, "missing": 0}
        ]
        assert [each["fraction"] for each in content["running"]] == [0.3]
        assert [each["processes"] for each in content["runs"]] == [3]
        assert "fine_tuning_seed: 0 -> 1" in content["why"][0]["reason"]
        assert content["exit_code"] == 1
        assert job.key not in content["why"][0]["key"]

    def test_nothing_runs_after_a_run(self, ask: Ask) -> None:
        found = planned()
        with registered(found, [], Workspace.default(), slots=3, log=print):
            pass
        assert "Running" not in ask("status", "--suite", "mine.yaml").out


class TestRetry:
    def test_failures_of_a_kind_are_set_aside(self, ask: Ask) -> None:
        found = planned()
        finish(found, "failed", "method")
        key = found.of_kind("cell")[0].key
        assert ask("retry", "--suite", "mine.yaml", "--failed", "infrastructure").out == "0 failed cells of this kind\n"
        answer = ask("retry", "--suite", "mine.yaml", "--failed", "method", "--dry-run")
        assert "scratch on ncs[data=phantom], seeds 0/0 (method): it broke" in answer.out
        assert "2 failed cells would be set aside" in answer.out
        assert Ledger(Workspace.default()).get(key)
        content = json.loads(ask("retry", "--suite", "mine.yaml", "--failed", "method", "--seeds", "0", "--json").out)
        assert [each["key"] for each in content["cells"]] == [key]
        assert Ledger(Workspace.default()).get(key) is None
        assert (Workspace.default().root / "retried" / "cells" / f"{key}.json").is_file()
        assert len(found.pending(Workspace.default())) == 3  # with what the cell needs

    def test_finished_cells_stay(self, ask: Ask) -> None:
        found = planned()
        finish(found)
        assert ask("retry", "--suite", "mine.yaml").out == "0 failed cells of this kind\n"
        assert not Ledger(Workspace.default()).withdraw(found.of_kind("cell")[0].key, "retried")


class TestClean:
    def test_nothing_is_deleted_unless_asked(self, ask: Ask) -> None:
        planned()
        folder = Workspace.default().path("stores", "ab" * 32)
        folder.mkdir(parents=True)
        (folder / "image").write_bytes(b"0" * 2000)
        answer = ask("clean", "--suite", "mine.yaml")
        assert f"2.0 kB  stores/{folder.name}  no cell of these suites" in answer.out
        assert "--yes deletes them" in answer.out
        assert folder.exists()
        content = json.loads(ask("clean", "--suite", "mine.yaml", "--yes", "--json").out)
        assert [(each["bytes"], each["deleted"]) for each in content["leftovers"]] == [(2000, True)]
        assert not folder.exists()
        assert ask("clean", "--suite", "mine.yaml").out == "0 files and folders, 0 B, may be deleted\n"

    def test_a_suite_that_cannot_be_planned_is_refused(self, ask: Ask) -> None:
        write({**SUITE, "tasks": ["ncs"]})
        ask("clean", "--suite", "mine.yaml", "--yes").refused("what it needs is not known", "--data", code=3)


class TestDoctor:
    @pytest.mark.parametrize(("grade", "code"), [("ok", 0), ("warning", 0), ("problem", 1)])
    def test_a_problem_is_an_exit_code(self, ask: Ask, monkeypatch: pytest.MonkeyPatch, grade: Any, code: int) -> None:
        found = [Finding("locks", grade, "held", "" if grade == "ok" else "Do this")]
        monkeypatch.setattr("sg_bench.running.doctor.examine", lambda *_, **__: iter(found))
        answer = ask("doctor")
        assert answer.code == code
        assert answer.out.startswith(f"{grade:<8} locks")
        assert ("Do this" in answer.out) == (grade != "ok")
        content = json.loads(ask("doctor", "--json").out)
        assert content["exit_code"] == code
        assert content["findings"][0]["grade"] == grade


@pytest.mark.parametrize("command", ["run", "plan", "status", "retry", "clean", "doctor"])
def test_each_gives_two_examples(ask: Ask, command: str) -> None:
    text = " ".join(ask(command, "--help").out.split())
    assert text.count(f"sg-bench {command}") >= 2, text
    assert "--json" in text
