"""`sg-bench export`: what is written where, and what is refused before anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sg_bench.cli.selection import select
from tests.cli.conftest import Ask, finish


def test_a_part_of_a_suite_is_exported_next_to_its_report(ask: Ask) -> None:
    finish(select("demo-all", methods="scratch", tasks="lcs[data=phantom]").plan)
    where = ("--suite", "demo-all", "--methods", "scratch", "--tasks", "lcs[data=phantom]")
    done = ask("export", "--to", "csv", "--to", "bibtex", *where, "--json")
    assert (done.code, done.err) == (0, "")
    scores, references = json.loads(done.out)["exports"]
    folder = Path("results/demo-all/views/scratch-lcs_data_phantom/exports")
    assert (scores["to"], scores["out"], scores["runs"]) == ("csv", str(folder / "csv"), 4)
    assert pd.read_csv(folder / "csv" / "scores.csv").query("headline")["value"].tolist() == [0.5, 0.5]
    assert references["out"] == str(folder / "bibtex" / "references.bib")


def test_a_workspace_is_exported_as_a_folder(ask: Ask) -> None:
    finish(select("demo-all", methods="scratch", tasks="lcs[data=phantom]").plan)
    done = ask("export", ".sg-bench", "--to", "parquet", "--out", "here")
    assert (done.code, done.err) == (0, "")
    assert "parquet: 4 exported, 4 of them new, to here" in done.out
    assert len(pd.read_parquet("here/scores.parquet")) == 4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "no --to is given. Add one, or several, of: --to tensorboard"),
        (("--to", "tensorbord"), "Did you mean 'tensorboard'?"),
        (("--to", "csv", "--out", "http://127.0.0.1"), "only mlflow exports to an address"),
        (("nowhere", "--to", "csv"), "nowhere: no such folder"),
        (("--to", "csv"), "nothing to export: no cell is finished"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(ask: Ask, arguments: tuple[str, ...], reason: str) -> None:
    ask("export", *arguments).refused(reason)
    assert not Path("results").exists()
