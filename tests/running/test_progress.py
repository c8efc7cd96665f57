"""Progress of a run, printed without a terminal."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from sg_bench.running import progress
from sg_bench.running.failures import Failure
from sg_bench.running.job_logs import MAX_BYTES, log_name, logged
from sg_bench.running.live import StageView, gpu_line
from sg_bench.running.progress import Progress, reporter
from sg_bench.workspace import Workspace
from tests.recipes import fake_job

JOB = fake_job("initialisation", "ab" * 32, title="pretrain mine, seed 0")


def test_a_long_job_is_heard_of_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines: list[str] = []
    workspace = Workspace(tmp_path)
    view = Progress([JOB], workspace, lines.append, terminal=False)
    view.started(JOB)
    view.poll([JOB])
    assert lines == []
    reporter(workspace, JOB.key)(3, 10)
    view.poll([JOB])
    assert [line.partition(", about")[0] for line in lines] == ["pretrain 0/1: pretrain mine, seed 0, 30% done"]


def test_a_short_job_says_one_line_at_its_end(tmp_path: Path) -> None:
    lines: list[str] = []
    view = Progress([JOB], Workspace(tmp_path), lines.append, terminal=False)
    view.started(JOB)
    reporter(Workspace(tmp_path), JOB.key)(3, 10)
    view.poll([JOB])
    view.finished(JOB, None)
    assert len(lines) == 1
    assert lines[0].startswith("pretrain 1/1: pretrain mine, seed 0 (")


def test_what_another_run_has_just_finished_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = Progress([JOB], Workspace(tmp_path), print, terminal=False)
    monkeypatch.setattr(Path, "exists", lambda _: True)  # it was there a moment ago
    view.poll([JOB])
    assert view.parts == {}


def test_events_tell_programs_what_happens(tmp_path: Path) -> None:
    workspace, events = Workspace(tmp_path), list[dict[str, Any]]()
    broken = fake_job("cell", "cd" * 32, title="scratch on ncs")
    view = Progress([JOB, broken], workspace, print, terminal=False, events=lambda event: events.append(dict(event)))
    with view:
        view.started(JOB)
        view.started(JOB)  # a share of the same job
        reporter(workspace, JOB.key)(3, 10)
        view.poll([JOB])
        view.finished(JOB, None)
        view.started(broken)
        view.finished(broken, Failure("method", "ValueError", "it broke", ""))
    assert [event["event"] for event in events] == ["begin", "started", "progress", "finished", "started", "finished"]
    assert events[0]["jobs"] == {"initialisation": 1, "cell": 1}
    assert events[2]["fraction"] == 0.3
    assert (events[3]["status"], events[3]["error"], events[3]["title"]) == ("done", None, JOB.title)
    assert {name: events[5][name] for name in ("status", "error", "key", "finished", "failed", "total")} == {
        "status": "failed",
        "error": "it broke",
        "key": broken.key,
        "finished": 1,
        "failed": 1,
        "total": 1,
    }


def test_a_failure_names_the_log_of_its_job(tmp_path: Path) -> None:
    lines: list[str] = []
    workspace = Workspace(tmp_path)

    def broken() -> None:
        with logged(JOB, workspace):
            warnings.warn("a strange number", stacklevel=1)
            raise ValueError("it broke")

    with pytest.raises(ValueError, match="it broke"):
        broken()
    view = Progress([JOB], workspace, lines.append, terminal=False)
    view.finished(JOB, Failure("method", "ValueError", "it broke", ""))
    assert f"(log: logs/{JOB.key}.log)" in lines[0]
    log = workspace.path("logs", f"{JOB.key}.log").read_text()
    assert JOB.title in log
    assert "a strange number" in log
    assert "Traceback" in log
    assert "ValueError: it broke" in log


def test_a_log_stays_small_and_keeps_the_traceback(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def talkative() -> None:
        with logged(JOB, workspace):
            for number in range(100):
                logging.getLogger("library").warning("%s %s", number, "x" * 5000)
            raise ValueError("the end")

    with pytest.raises(ValueError, match="the end"):
        talkative()
    log = workspace.path("logs", f"{JOB.key}.log").read_text()
    assert len(log) < MAX_BYTES + 5000
    assert log.count("The log is full") == 1
    assert log.rstrip().endswith("ValueError: the end")


def test_a_quiet_job_has_no_log(tmp_path: Path) -> None:
    with logged(JOB, Workspace(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []
    assert log_name(Workspace(tmp_path), JOB.key) == ""


def test_the_state_of_a_stage_is_one_line() -> None:
    assert StageView(3.5, 2, 1, 14.2).state == "2 running, 1 failed, 14 a minute"
    assert StageView(3.5, 0, 0, 0.2).state == "12.0 an hour"
    assert StageView(0, 0, 0, 0.0).state == ""
    assert gpu_line("0, 87, 12390, 143156\n") == "GPU 0: 87 %, 12.1 of 139.8 GiB"
    assert gpu_line("no devices were found") == ""


def test_a_live_view_draws_what_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress([JOB], Workspace(tmp_path), print, terminal=True) as view:
        view.started(JOB)
    assert "1 running" in capsys.readouterr().err
