"""compare, explain and merge, as they are typed: exit codes, one line for what is wrong, files where they are said."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sg_bench import cli
from sg_bench.cli.selection import select
from sg_bench.config import key_of
from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return a function that runs a command in an empty folder and returns its code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SG_BENCH_HOME", raising=False)

    def ask(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sg-bench", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return (int(caught.value.code or 0), *capsys.readouterr())

    return ask


def finished(work: str, shift: float = 0.0, seeds: str = "0-5", *settings: str) -> list[str]:
    """Put a record of every cell of the suite demo-all into a workspace; return the keys."""
    plan = select("demo-all", seeds=seeds, settings=list(settings)).plan
    for place, job in enumerate(plan.of_kind("cell")):
        task = job.recipe.key_content()["task"]
        score = 0.5 + shift + 0.01 * (place % 6)
        record: dict[str, Any] = {
            "key": job.key,
            "status": "done",
            "recipe": job.recipe.key_content(),
            "cases": [],
            "error": None,
            "outputs": {},
        }
        metrics = {task["headline"]: score, **({task["parity"]: score} if task["parity"] else {})}
        record |= {"metrics": metrics, "headline": task["headline"], "parity": task["parity"], "curves": []}
        Ledger(Workspace(work)).put(record)
    return [job.key for job in plan.of_kind("cell")]


class TestCompare:
    def test_the_phantom_is_not_comparable_with_the_papers_and_that_is_no_failure(self, ask: Ask) -> None:
        finished("w")
        code, out, err = ask("compare", "--suite", "demo-all", "--work", "w", "--published", "semantic_genesis_2020")
        assert (code, err) == (0, "")
        text = Path("results/demo-all/tables/compare-semantic_genesis_2020.md").read_text()
        assert re.search(r"demo-all compared with semantic_genesis_2020: \d+ not comparable\.", text)
        assert "other data: phantom" in out

    @pytest.mark.slow
    def test_two_runs_that_differ_exit_with_1_and_are_written_where_out_says(self, ask: Ask) -> None:
        finished("a")
        finished("b", 0.2, "0-5", "fine_tuning.steps=40")
        code, out, _ = ask("compare", "a", "b", "--out", "mine")
        assert code == 1
        assert "lower" in Path("mine/a-b.md").read_text()
        assert "task.training.steps: 20 -> 40" in out

    def test_a_run_compared_with_itself_exits_with_0(self, ask: Ask) -> None:
        cells = len(finished("a"))
        code, out, _ = ask("compare", "a", "a")
        assert (code, f"{cells // 6} consistent" in out) == (0, True)
        assert Path("results/compared/a-a.md").is_file()

    def test_a_folder_can_be_compared_with_published_numbers_too(self, ask: Ask) -> None:
        finished("a")
        code, out, _ = ask("compare", "a", "--published", "transvw_2021_label_efficiency")
        assert (code, "not comparable" in out) == (0, True)

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ([], "Known: models_genesis_2019_2d"),
            (["a"], "compare takes two folders"),
            (["a", "b", "--published", "semantic_genesis_2020"], "at most one folder"),
            (["--published", "semantic_genesis"], "Did you mean 'semantic_genesis_2020'"),
            (["a", "b"], "a: no cells here"),
        ],
    )
    def test_what_cannot_be_compared_is_refused_in_one_line(self, ask: Ask, arguments: list[str], reason: str) -> None:
        code, out, err = ask("compare", *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert reason in err


class TestExplain:
    @pytest.mark.usefixtures("tables_only")
    def test_a_cell_is_explained_by_key_or_name_from_workspace_or_results(self, ask: Ask) -> None:
        key = finished("w", 0.0, "0-1")[0]
        ask("report", "--suite", "demo-all", "--work", "w", "--out", "out")
        for folder in ("w", "out"):
            for name in (key[:12], "scratch/lcs/0/0"):
                code, out, err = ask("explain", name, "--work", folder)
                assert (code, err) == (0, "")
                assert (key if name in key else "scratch") in out
        assert "2 runs" in ask("explain", "scratch/lcs", "--work", "out")[1]

    def test_a_suite_selects_its_own_result_among_several(self, ask: Ask) -> None:
        key = finished("w", 0.0, "0")[0]
        finished("w", 0.0, "0", "fine_tuning.steps=40")
        code, out, err = ask("explain", "scratch/lcs", "--work", "w")
        assert (code, out, "'scratch/lcs' is 2 results" in err) == (2, "", True)
        assert "task.training.steps 20" in err
        code, out, err = ask("explain", "scratch/ncc", "--work", "w", "--suite", "demo-all")
        assert (code, err, key in out) == (0, "", True)
        assert "training.steps  40" in re.sub(
            r" +",
            "  ",
            ask("explain", "scratch/ncc", "--work", "w", "--suite", "demo-all", "--set", "fine_tuning.steps=40")[1],
        )

    @pytest.mark.parametrize("name", ["ffffff", "scratch/nnc", "scratch", "..", ""])
    def test_an_unknown_cell_is_one_line(self, ask: Ask, name: str) -> None:
        finished("w", 0.0, "0")
        code, out, err = ask("explain", name, "--work", "w")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "Known: " in err

    def test_an_empty_workspace_is_one_line(self, ask: Ask) -> None:
        code, _, err = ask("explain", "scratch/ncc")
        assert (code, "no cells here" in err) == (2, True)


class TestMerge:
    def test_two_ledgers_become_one(self, ask: Ask) -> None:
        count = len(finished("a", 0.0, "0-1")) + len(finished("b", 0.0, "2"))
        code, out, err = ask("merge", "a", "b", "--into", "all")
        assert (code, err) == (0, "")
        assert f"{count} cells added, 0 known already, 0 conflicts" in out
        assert f"0 cells added, {count} known already" in ask("merge", "a", "b", "--into", "all")[1]

    def test_conflicts_and_damage_are_named_and_damage_exits_with_1(self, ask: Ask) -> None:
        finished("a", 0.0, "0")
        key = finished("b", 0.1, "0")[0]
        code, _, err = ask("merge", "a", "b", "--into", "all")
        assert (code, f"Conflict: {Path('b', 'cells', key)}.json" in err) == (0, True)
        Path("b", "cells", f"{key}.json").write_text("{")
        code, _, err = ask("merge", "b", "--into", "other")
        assert (code, f"Skipped: {Path('b', 'cells', key)}.json is damaged" in err) == (1, True)

    def test_nothing_to_merge_is_refused(self, ask: Ask) -> None:
        assert ask("merge", "nowhere", "--into", "all")[0] == 2
        assert ask("merge", "--into", "all")[0] == 2
        assert not Path("all").exists()


@pytest.mark.usefixtures("tables_only")
def test_what_a_report_wrote_is_what_was_merged(ask: Ask) -> None:
    keys = finished("w", 0.0, "0")
    ask("report", "--suite", "demo-all", "--work", "w", "--out", "out")
    ask("merge", "out", "--into", "new")
    for key in keys:
        record: dict[str, Any] = json.loads(Path("new", "cells", f"{key}.json").read_text())
        assert key_of(record["recipe"]) == key
