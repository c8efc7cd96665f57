"""Progress of a run, printed without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.running import progress
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
