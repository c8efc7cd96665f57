"""Golden files: a change of any byte of a report is seen here. To accept one, copy what the test wrote."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sg_bench.reporting import console_table, main_table, write_report
from sg_bench.reporting.render import main_csv, markdown, scores_csv

GOLDEN = Path(__file__).parent / "golden"
TITLE = "everything"
NOTES = ["Made on the embedded phantom: a proving ground, not patients."]


@pytest.mark.parametrize("name", ["main.md", "main.csv", "scores.csv"])
def test_the_tables_are_the_golden_ones_to_the_byte(ledger: Any, tmp_path: Path, name: str) -> None:
    main = write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    assert main == tmp_path / "tables" / "main.md"
    assert (main.parent / name).read_bytes() == (GOLDEN / name).read_bytes()


@given(st.randoms())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_the_records_changes_no_byte(ledger: Any, random: Any) -> None:
    keys = random.sample(sorted(ledger.records), len(ledger.records))
    table = main_table(ledger.cells, {key: ledger.records[key] for key in keys})
    texts = {"main.md": markdown(TITLE, table, NOTES), "main.csv": main_csv(table), "scores.csv": scores_csv(table)}
    for name, text in texts.items():
        assert text.encode() == (GOLDEN / name).read_bytes()


def test_writing_again_leaves_the_same_files(ledger: Any, tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    first = contents()
    write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    assert contents() == first


def test_cells_holds_exactly_the_records_that_were_used(ledger: Any, tmp_path: Path) -> None:
    cells = tmp_path / "cells"
    cells.mkdir()
    stale, mine = cells / f"{'0' * 64}.json", cells / "notes.json"
    for path in (stale, mine):
        path.write_text("{}")
    foreign = {"f" * 64: {"status": "done", "metrics": {}}}
    write_report(tmp_path, TITLE, ledger.cells, {**ledger.records, **foreign}, NOTES)
    assert {path.name for path in cells.iterdir()} == {f"{key}.json" for key in ledger.records} | {"notes.json"}
    for key, record in ledger.records.items():
        text = (cells / f"{key}.json").read_text()
        assert json.loads(text) == record
        assert text == json.dumps(record, indent=1, sort_keys=True) + "\n"


def test_the_terminal_shows_the_same_numbers(ledger: Any) -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(console_table(main_table(ledger.cells, ledger.records), TITLE))
    text = console.export_text()
    assert "82.00 ± 2.83" in text
    assert "ncs[data=phantom]" in text
    assert "mean_iou_keras†" in text
    assert "† papers' metric" in text
    assert "¹ no data for 'brats'" in text
