"""Results as objects: tables, figures, comparisons and exports by name, and errors that name what there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sg_bench
from sg_bench.errors import UsageError
from sg_bench.interface import Results
from sg_bench.reporting import write_report
from tests.reporting.page.conftest import HOSTILE, make_evidence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of two methods, whose table does not have them in alphabetical order."""
    evidence = make_evidence(["scratch", "models_genesis"], ["ncc", "lcs"], [(0, seed) for seed in range(3)])
    for cell in evidence.cells:
        evidence.records[cell.key]["recipe"]["pretraining_seed"] = cell.pretraining_seed
    out = tmp_path_factory.mktemp("results") / "demo"
    write_report(out, "A title", evidence.cells, evidence.records)
    return out


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return sg_bench.load_results(str(folder))


def test_a_folder_is_read_in_the_order_of_its_table(results: Results, folder: Path) -> None:
    assert (results.name, results.methods, results.tasks) == ("demo", ["scratch", "models_genesis"], ["ncc", "lcs"])
    assert repr(results) == "<Results of demo: 2 methods x 2 tasks; cells: 12 done>"
    assert repr(sg_bench.load_results(folder)) == repr(results)


def test_tables_have_the_text_and_numbers_of_the_report(results: Results, folder: Path) -> None:
    assert results.table().csv == (folder / "tables" / "main.csv").read_text(encoding="utf-8")
    assert results.table("variance").csv == (folder / "tables" / "variance.csv").read_text(encoding="utf-8")
    assert repr(results.table()).startswith("# demo\n")
    assert "<table>" in results.table()._repr_html_()
    assert "<table>" in results._repr_html_()


def test_the_frame_has_a_row_for_each_run_and_can_be_changed(results: Results) -> None:
    frame = results.frame()
    frame["value"] = 0.0
    assert len(frame) == 12
    assert results.frame()["value"].min() > 0


def test_hostile_labels_do_not_run_in_a_notebook() -> None:
    hostile = make_evidence([f"a {HOSTILE}"], [f"t {HOSTILE}"], [(0, 0)], metric=f"m {HOSTILE}")
    shown = Results(hostile, HOSTILE)._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown


def test_results_are_compared_with_a_folder_and_with_a_publication(results: Results, folder: Path) -> None:
    same = results.compare(folder)
    assert {line.verdict for line in same.lines} == {"consistent"}
    assert not same.differs
    assert "the same runs" in repr(same)
    assert "<table>" in same._repr_html_()
    assert results.compare("semantic_genesis_2020").second == "semantic_genesis_2020"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda found: found.table("mian"), r"no table 'mian'. Did you mean 'main'\?"),
        (lambda found: found.table("significance"), r"the table 'significance' has nothing to show. These have: main,"),
        (
            lambda found: found.plot("seed-spred"),
            r"no figure 'seed-spred' of these results. Did you mean 'seed-spread'",
        ),
        (lambda found: found.compare("semantic_genesis_2002"), r"Did you mean 'semantic_genesis_2020'\?"),
        (lambda found: found.export("paquet"), r"unknown format 'paquet'. Did you mean 'parquet'\?"),
        (lambda _: sg_bench.load_results("nowhere"), r"nowhere: no such folder. Name a results folder"),
        (lambda _: sg_bench.run("dmo"), r"unknown suite 'dmo'. Did you mean 'demo'\?"),
        (lambda _: sg_bench.run("demo", methods="scrach"), r"unknown method 'scrach'. Did you mean 'scratch'\?"),
        (lambda _: sg_bench.report("demo", settings={"fine_tunin.steps": 1}), r"fine_tunin"),
        (lambda _: sg_bench.run(sg_bench.load_suite("demo"), methods="scratch"), r"not of a Suite"),
        (lambda _: sg_bench.run("demo", track="tensorbord"), r"unknown tracker 'tensorbord'. Did you mean"),
    ],
)
def test_wrong_names_are_refused_with_those_that_exist(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Results], Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        act(results)


def test_a_figure_is_drawn_for_a_notebook_and_saved_in_any_format(results: Results, tmp_path: Path) -> None:
    figure = results.plot("seed-spread")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.save(str(tmp_path / "spread.svg")).read_text(encoding="utf-8").startswith("<?xml")
    assert figure.figure.get_axes()
    assert "Spread over seeds" in repr(figure)


def test_an_export_goes_to_the_folder_of_the_report(results: Results, folder: Path) -> None:
    done = results.export("csv")
    assert done.out == str(folder / "exports" / "csv")
    assert len(pd.read_csv(folder / "exports" / "csv" / "scores.csv")) == 12
    assert "zhou2019models" in results.bibtex()


def test_a_suite_without_results_is_reported_and_a_plan_takes_names(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    planned = sg_bench.plan("demo", workspace=str(tmp_path / "work"))
    for suite in ("demo", planned):
        with monkeypatch.context() as patched:
            patched.setattr("sg_bench.interface.runs.write_reports", lambda *_: None)
            found = sg_bench.report(suite, tmp_path / "work", out=str(tmp_path / "out"))
        assert repr(found) == "<Results of demo: 3 methods x 3 tasks; cells: 18 not run>"


def test_importing_the_interface_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, sg_bench.interface; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "ray", "pandas", "matplotlib", "typer"} & set(done.stdout.split())
