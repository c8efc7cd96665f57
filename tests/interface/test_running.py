"""A run from Python: a suite's file or plan, an interruption by nothing to do, and trackers that follow it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sg_bench
from sg_bench import cli
from sg_bench.interface import Results
from sg_bench.reporting.exports import TrackedRun

TINY = Path(__file__).parents[1] / "e2e" / "tiny.yaml"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the run below prints."""
    return []


@pytest.fixture(scope="module")
def results(folder: Path, lines: list[str]) -> Results:
    """A run of one method besides scratch, on one task of segmentation."""
    return sg_bench.run(
        TINY,
        str(folder / "work"),
        out=folder / "out",
        methods=["scratch", "models_genesis"],
        tasks="tiny_lcs",
        seeds=0,
        settings={"checks": []},
        jobs=1,
        track=["tensorboard"],
        log=lines.append,
    )


def test_the_results_are_those_of_the_selected_cells(results: Results, lines: list[str]) -> None:
    assert repr(results) == "<Results of tiny: 2 methods x 1 tasks; cells: 2 done>"
    assert results.folder is not None
    assert results.table().csv == (results.folder / "tables" / "main.csv").read_text(encoding="utf-8")
    assert any(line.startswith("fine-tune 2/2: ") for line in lines)


def test_pictures_of_segmentations_are_at_hand(results: Results) -> None:
    assert {"restoration", "segmentation-tiny_lcs"} <= set(results.plots)


def test_a_tracker_has_each_fine_tuning_and_pretraining_once(results: Results, lines: list[str]) -> None:
    assert results.folder is not None
    folder = results.folder / "exports" / "tensorboard"
    runs = sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("events.*"))
    assert runs == [
        "fine-tuning/models_genesis/tiny_lcs/p0-f0",
        "fine-tuning/scratch/tiny_lcs/p0-f0",
        "pretraining/models_genesis/3d-p0",
    ]
    assert lines[-1].startswith(f"Tracked in {folder}: tensorboard --logdir ")
    done = results.export("tensorboard", folder)
    assert (done.runs, done.added) == (3, 0)


def test_the_same_run_again_and_its_plan_compute_nothing(results: Results, folder: Path) -> None:
    keys = {cell.key for cell in results.evidence.cells}
    planned = sg_bench.plan(TINY, workspace=folder / "work")
    planned.cells[:] = [cell for cell in planned.cells if cell.key in keys]
    printed: list[str] = []
    again = sg_bench.run(planned, str(folder / "work"), out=folder / "again", log=printed.append)
    assert (repr(again), printed) == (repr(results), [])


def test_a_tracker_that_fails_does_not_end_a_run(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any, run: TrackedRun) -> bool:
        raise OSError(f"no space for {run.name}")

    monkeypatch.setattr("sg_bench.reporting.exports.tensorboard.TensorBoardFiles.add", refuse)
    printed: list[str] = []
    again = sg_bench.run(
        TINY,
        folder / "work",
        out=folder / "out",
        methods=results.methods,
        tasks="tiny_lcs",
        settings={"checks": []},
        seeds=0,
        track="tensorboard",
        log=printed.append,
    )
    assert repr(again) == repr(results)
    assert sum("Tracking with tensorboard ended: no space for" in line for line in printed) == 1


def test_the_command_line_tracks_too(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--work", str(folder / "work"), "--out", str(folder / "out"), "--set", "checks=[]"]
    chosen = ["--methods", ",".join(results.methods), "--tasks", "tiny_lcs", "--seeds", "0"]
    command = ["sg-bench", "run", "--suite", str(TINY), *place, *chosen, "--track", "tensorboard", "--json"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    printed = capsys.readouterr()
    assert caught.value.code == 0, printed.err
    assert "Tracked in " in printed.err
    assert json.loads(printed.out.splitlines()[-1])["event"] == "end"
