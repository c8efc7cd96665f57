"""Figures that other processes draw are those that this one would draw, and no failure is lost."""

import os
import subprocess
import time
from functools import partial

import pytest

from sg_bench.reporting.figures import processes
from sg_bench.reporting.figures.layout import FigureLayout, Plot, files_of, save
from sg_bench.reporting.figures.processes import saving


def grid(count: int, layout: FigureLayout) -> None:
    layout.panels(count, across=2, height=0.5)


PLOTS = [Plot(f"plot-{count}", "A title", "A caption.", partial(grid, count)) for count in (1, 2, 3)]
FAILING = Plot("failing", "A title", "A caption.", partial(grid, -1))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Let two figures suffice to start one process, whatever the machine, and return those that were started."""
    found: list[subprocess.Popen[bytes]] = []
    start = processes._start
    monkeypatch.setattr(processes, "FEWEST", 2)
    monkeypatch.setattr(processes, "MOST", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})

    def noted() -> subprocess.Popen[bytes]:
        found.append(start())
        return found[-1]

    monkeypatch.setattr(processes, "_start", noted)
    return found


def test_figures_drawn_meanwhile_by_another_process_have_the_same_bytes(started, tmp_path):
    paths = [path for plot in PLOTS for path in files_of(plot, tmp_path / "a")]
    with saving(PLOTS, tmp_path / "a"):
        assert len(started) == 1
        ends = time.monotonic() + 300
        while not all(path.is_file() for path in paths) and time.monotonic() < ends:
            time.sleep(0.05)
        assert all(path.is_file() for path in paths)
    assert started[0].poll() is not None
    for plot in PLOTS:
        for path in save(plot, tmp_path / "b"):
            assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_a_figure_that_fails_in_another_process_raises_its_error_here(started, tmp_path):
    with pytest.raises(ValueError, match="-1"), saving([FAILING, *PLOTS], tmp_path):
        pass
    assert started[0].poll() is not None


def test_figures_are_drawn_here_if_the_other_process_cannot_start(started, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "COMMAND", "raise SystemExit(1)")
    with saving(PLOTS, tmp_path):
        pass
    assert all(path.is_file() for plot in PLOTS for path in files_of(plot, tmp_path))


def test_an_error_of_the_caller_ends_the_other_process(started, tmp_path):
    with pytest.raises(KeyError), saving(PLOTS, tmp_path):
        raise KeyError
    assert started[0].poll() is not None


def test_few_figures_and_one_core_start_no_process(started, tmp_path, monkeypatch):
    with saving(PLOTS[:1], tmp_path):
        pass
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    with saving(PLOTS, tmp_path):
        pass
    assert started == []
