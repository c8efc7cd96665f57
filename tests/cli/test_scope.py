"""A selection is reported by itself; the suite's report never loses a cell by it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sg_bench.cli.selection import _view_name, select
from sg_bench.workspace import Workspace
from tests.cli.conftest import Ask, finish, write

SUITE: dict[str, Any] = {
    "name": "mine",
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch", {"name": "scratch", "label": "wide", "config": {"width": 64}}],
    "tasks": ["ncs[data=phantom]", "lcs[data=phantom]"],
    "fine_tuning_seeds": "0-1",
}
CARD: dict[str, Any] = {
    "name": "scans",
    "title": "Scans",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "scans", "source": "folder", "config": {"labels": "labels/{id}.nii"}},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
}
ALL = 8
Rows = set[tuple[str, str, str]]


pytestmark = pytest.mark.usefixtures("tables_only")


@pytest.fixture
def reported(ask: Ask) -> Callable[..., Rows]:
    """Return a function that reports the finished suite with some options, and returns the report's rows."""
    write(SUITE)
    finish(select("mine.yaml").plan)
    assert ask("report", "--suite", "mine.yaml").code == 0

    def report(*arguments: str, verb: str = "report") -> Rows:
        ask(verb, "--suite", "mine.yaml", *arguments)
        return rows()

    return report


def rows(folder: str = "results/mine") -> Rows:
    """Return the (method, task, fine-tuning seed) of a report's scores."""
    with Path(folder, "tables/scores.csv").open(newline="") as file:
        return {(line["method"], line["task"], line["fine_tuning_seed"]) for line in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("verb", "narrower", "view", "count"),
    [
        ("run", ["--methods", "scratch"], "scratch", 4),
        ("report", ["--tasks", "ncs"], "ncs", 4),
        ("report", ["--seeds", "1"], "seeds-1", 4),
        ("run", ["--methods", "wide", "--tasks", "lcs[data=phantom]"], "wide-lcs_data_phantom", 2),
        ("report", ["--pretraining-seeds", "0"], "pretraining_seeds-0", 8),
    ],
)
def test_a_narrower_selection_leaves_the_report_whole_and_has_its_own(
    ask: Ask, reported: Callable[..., Rows], verb: str, narrower: list[str], view: str, count: int
) -> None:
    answer = ask(verb, "--suite", "mine.yaml", *narrower)
    assert answer.code == 0
    assert len(rows()) == ALL
    assert len(list(Path("results/mine/cells").glob("*.json"))) == ALL
    assert len(rows(f"results/mine/views/{view}")) == count
    (line,) = [line for line in answer.err.splitlines() if line.startswith("Selection ")]
    assert line == (
        f"Selection {view}: its report is in results/mine/views/{view}; "
        "that of the suite (8 of 8 cells) is in results/mine"
    )
    assert f"Results: results/mine/views/{view}/tables/main.md" in answer.out


def test_the_printed_table_is_the_selections(ask: Ask, reported: Callable[..., Rows]) -> None:
    out = ask("report", "--suite", "mine.yaml", "--methods", "wide").out
    assert "wide" in out
    assert "scratch" not in out


def test_a_folder_of_ones_own_is_the_suites_too(ask: Ask, reported: Callable[..., Rows]) -> None:
    ask("report", "--suite", "mine.yaml", "--methods", "wide", "--out", "own")
    assert len(rows("own")) == ALL
    assert len(rows("own/views/wide")) == 4


def test_more_seeds_methods_and_variants_are_added_and_stay(reported: Callable[..., Rows]) -> None:
    finish(select("mine.yaml", seeds="2", methods="scratch").plan)
    finish(select("mine.yaml", tasks="ncs[data=phantom,steps=8]", methods="scratch").plan)
    assert len(reported("--methods", "scratch", "--seeds", "2")) == ALL + 2
    assert len(reported("--methods", "scratch", "--tasks", "ncs[data=phantom,steps=8]")) == ALL + 4
    assert len(reported()) == ALL + 4
    assert len(reported("--methods", "wide", verb="run")) == ALL + 4


def test_what_was_added_and_is_not_done_takes_no_row_and_no_exit_code(ask: Ask, reported: Callable[..., Rows]) -> None:
    assert ask("report", "--suite", "mine.yaml", "--seeds", "0-2").code == 1
    assert ask("report", "--suite", "mine.yaml").code == 0
    assert len(rows()) == ALL


def test_a_method_taken_out_of_the_suites_file_leaves_the_report(reported: Callable[..., Rows]) -> None:
    write({**SUITE, "methods": ["scratch"]})
    assert {method for method, _, _ in reported()} == {"scratch"}


def test_a_method_added_to_the_suites_file_keeps_what_options_added(reported: Callable[..., Rows]) -> None:
    finish(select("mine.yaml", seeds="2").plan)
    assert len(reported("--seeds", "2")) == 12
    write({**SUITE, "methods": [*SUITE["methods"], "models_genesis"]})
    assert len(reported()) == 12


def test_another_suites_report_is_not_replaced(ask: Ask, reported: Callable[..., Rows]) -> None:
    write({**SUITE, "name": "other"}, "other.yaml")
    for verb in ("run", "report"):
        ask(verb, "--suite", "other.yaml", "--out", "results/mine").refused(
            "--out results/mine holds the report of the suite 'mine'", "Name another folder with --out"
        )
    assert len(rows()) == ALL


@pytest.mark.parametrize("narrower", [[], ["--methods", "scratch"]])
def test_a_workspace_that_lacks_some_of_its_cells_leaves_it_alone(
    ask: Ask, reported: Callable[..., Rows], narrower: list[str]
) -> None:
    cells = sorted(Workspace.default().path("cells").glob("*.json"))
    for path in cells[:3]:
        path.unlink()
    answer = ask("report", "--suite", "mine.yaml", *narrower)
    assert "Kept as it was: the report in results/mine. " in answer.err
    assert "lacks 3 of its finished cells; sg-bench merge results/mine --into " in answer.err
    assert len(rows()) == ALL
    ask("merge", "results/mine", "--into", ".sg-bench")
    assert "Kept" not in ask("report", "--suite", "mine.yaml", *narrower).err


def test_data_that_are_not_given_take_no_finished_cell_out(ask: Ask, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "scans" / folder / f"{number}.nii").touch()
    write(CARD, "card.yaml")
    write({**SUITE, "tasks": ["card.yaml", "ncs[data=phantom]"]})
    given = ("--data", "scans=scans")
    finish(select("mine.yaml", data=["scans=scans"]).plan)
    assert ask("report", "--suite", "mine.yaml", *given).code == 0
    assert len(rows()) == ALL
    for arguments in (["--tasks", "ncs"], []):
        ask("report", "--suite", "mine.yaml", *arguments)
        assert len(rows()) == ALL
    write({**SUITE, "methods": ["scratch", "models_genesis"], "tasks": ["card.yaml", "ncs[data=phantom]"]})
    ask("report", "--suite", "mine.yaml")
    assert rows() == {("scratch", task, seed) for task in ("scans", "ncs[data=phantom]") for seed in "01"}
    write({**CARD, "target": [2]}, "card.yaml")  # what it would be now, nobody knows without the data
    ask("report", "--suite", "mine.yaml")
    assert rows() == {("scratch", "ncs[data=phantom]", seed) for seed in "01"}


def test_the_file_that_remembers_names_no_folder_of_this_machine(ask: Ask, tmp_path: Path) -> None:
    write(SUITE)
    write({**CARD, "data": {"name": "phantom", "source": "phantom"}}, "card.yaml")
    finish(select("mine.yaml").plan)
    finish(select("mine.yaml", tasks="./card.yaml").plan)
    ask("report", "--suite", "mine.yaml", "--tasks", "./card.yaml")
    assert len(rows()) == ALL + 4
    ask("report", "--suite", "mine.yaml")
    assert len(rows()) == ALL + 4
    assert str(tmp_path) not in Path("results/mine/report.json").read_text()


@pytest.mark.parametrize(("chosen", "name"), [("scratch," * 40, 73), ("...", 9), ("../../etc", 3)])
def test_a_selections_name_is_one_short_folder(chosen: str, name: int) -> None:
    found = _view_name(methods=chosen)
    assert len(found) == name
    assert Path(found).parts == (found,)
