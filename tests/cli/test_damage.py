"""Damaged records, tables and predictions block no command: `run` computes again, the others skip and say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sg_bench.cli.selection import Selection, select
from sg_bench.digests import read_sealed
from sg_bench.evaluation.metrics import score
from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace
from tests.cli.conftest import Ask, write
from tests.evaluation.scored_cells import segmented

SUITE: dict[str, Any] = {
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch"],
    "tasks": ["ncs[data=phantom]"],
    "fine_tuning_seeds": "0-2",
    "checks": [],
}
Damage = Callable[[Path], object]

pytestmark = pytest.mark.usefixtures("tables_only")


def finish(name: str) -> list[str]:
    """Put what is missing of a suite's cells into the ledger, with predictions, and return the keys of all cells."""
    work = Workspace.default()
    for seed, job in enumerate(select(name).plan.of_kind("cell")):
        if Ledger(work).done(job.key):
            continue
        made = segmented(seed)
        outputs = {"predictions": made.save(work.path("predictions", f"{job.key}.npz"))}
        metrics, cases = score("segmentation", made.probabilities, made.truths, ())
        rows = [{**row, "patient": str(row["case"]).partition("#")[0]} for row in cases]
        record: dict[str, Any] = {"key": job.key, "status": "done", "recipe": job.recipe.key_content()}
        record |= {"metrics": metrics}
        curves = [{"stage": "a", "epoch": 0, "step": 1, "lr": 0.1, "best": True, "train": {"loss": 1.0}}]
        record |= {"cases": rows, "curves": curves, "headline": "iou_bin", "parity": "mean_iou_keras", "error": None}
        Ledger(work).put({**record, "outputs": outputs})
    return [job.key for job in select(name).plan.of_kind("cell")]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let `run` compute cells without training; the list has the number of cells of each time."""
    times: list[int] = []

    def compute(selection: Selection, *_: Any, **__: Any) -> None:
        pending = selection.plan.pending(selection.workspace)
        times.append(sum(job.kind == "cell" for job in pending))
        finish("mine.yaml")

    monkeypatch.setattr("sg_bench.cli.run._compute", compute)
    return times


@pytest.fixture
def suite(ask: Ask) -> str:
    return write(SUITE)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3 : len(raw) // 3 + 64] = bytes(byte ^ 0xFF for byte in raw[len(raw) // 3 : len(raw) // 3 + 64])
    path.write_bytes(raw)


def of_schema(schema: Any) -> Damage:
    return lambda path: path.write_text(json.dumps(read_sealed(path) | {"schema": schema}))


def change(path: Path) -> None:
    path.write_text(path.read_text().replace('"iou_bin": 0.', '"iou_bin": 0.9', 1))


TABLE: list[tuple[str, Damage, bool]] = [
    (".json", cut_off, True),
    (".json", lambda path: path.write_text(""), True),
    (".json", lambda path: path.write_text("[1]"), True),
    (".json", lambda path: path.write_bytes(b"\x80\x81"), True),
    (".json", of_schema("two"), True),
    (".json", of_schema(-3), True),
    (".json", change, True),
    (".cases-*.parquet", Path.unlink, True),
    (".cases-*.parquet", cut_off, False),
    (".cases-*.parquet", flip, False),
    (".cases-*.parquet", lambda path: path.write_text("no table"), False),
]
"""Ending of a file, its damage, and whether the record alone shows it; else what reads the table does."""


@pytest.mark.parametrize(("ending", "damage", "shown"), TABLE)
def test_a_damaged_cell_is_skipped_by_what_reads_and_computed_again_by_run(
    ask: Ask,
    suite: str,
    computed: list[int],
    caplog: pytest.LogCaptureFixture,
    ending: str,
    damage: Damage,
    shown: bool,
) -> None:
    key, *_ = finish(suite)
    assert ask("report", "--suite", suite, "--out", "there").code == 0
    table = Path("there/tables/main.md").read_text()
    cells = Workspace.default().path("cells")
    (path,) = cells.glob(f"{key}{ending}")
    damage(path)
    before = {each.name: each.read_bytes() for each in cells.iterdir()}

    status = ask("status", "--suite", suite)
    assert (status.code, "2 done, 1 to compute" in status.out) == ((1, True) if shown else (0, False))
    report = ask("report", "--suite", suite, "--out", "here")
    assert report.code == 1
    assert "Traceback" not in report.err
    assert len(list(Path("here/cells").glob("*.json"))) == 2
    rescored = ask("rescore")
    assert rescored.out.count(": same") == 2
    assert rescored.code == (0 if shown else 3)
    messages = [line for line in caplog.messages if key in line]
    assert 1 <= len(messages) <= 2, "each problem once a process"
    assert all(line.startswith("Skipped: ") and "\n" not in line for line in messages)
    assert {each.name: each.read_bytes() for each in cells.iterdir()} == before, "what reads moves nothing"

    run = ask("run", "--suite", suite, "--out", "there")
    assert run.code == 0, run.err
    (line,) = (line for line in run.err.splitlines() if "Set aside" in line)
    assert line.startswith(f"Set aside as damaged/cells/{key}.json: ")
    assert computed == [1]
    assert Path("there/tables/main.md").read_text() == table
    aside = Workspace.default().root / "damaged" / "cells"
    if path.name in before:
        assert (aside / path.name).read_bytes() == before[path.name]
    assert (ask("status", "--suite", suite).code, ask("rescore").code) == (0, 0)


def test_a_record_of_a_newer_version_is_neither_computed_again_nor_replaced(
    ask: Ask, suite: str, computed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    key, *_ = finish(suite)
    path = Workspace.default().path("cells", f"{key}.json")
    of_schema(99)(path)
    before = path.read_bytes()
    assert [ask(verb, "--suite", suite).code for verb in ("status", "report", "run")] == [1, 1, 1]
    assert (computed, path.read_bytes()) == ([], before)
    assert "has schema 99, known up to 2. Update sg-bench" in caplog.text


@pytest.mark.parametrize(("damage", "word"), [(Path.unlink, "missing"), (cut_off, "cut off")])
def test_missing_predictions_are_noticed_and_the_scores_stand(
    ask: Ask, suite: str, computed: list[int], damage: Damage, word: str
) -> None:
    key, *_ = finish(suite)
    damage(Workspace.default().path("predictions", f"{key}.npz"))
    status = ask("status", "--suite", suite)
    assert (status.code, "3 done" in status.out) == (3, True)
    assert status.err.startswith(f"Predictions {word}: predictions/{key}.npz. The scores stand")
    rescored = ask("rescore")
    assert (rescored.code, rescored.out.count(": same")) == (3, 2)
    assert f"{key[:12]}: {'missing' if word == 'missing' else 'damaged'}: " in rescored.out
    assert ask("run", "--suite", suite).code == 0
    assert computed == [], "a record is complete without its predictions"
