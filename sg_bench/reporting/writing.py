"""A report's files: tables/main.md, tables/*.csv and cells/, whatever was there before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sg_bench.reporting.render import main_csv, markdown, scores_csv
from sg_bench.reporting.tables import Cell, Records, main_table
from sg_bench.workspace import write_atomic, write_json


def write_report(out: Path, title: str, cells: Sequence[Cell], records: Records, notes: Sequence[str] = ()) -> Path:
    """Write the tables of `cells`, and the records that they were made of, under `out`.

    Args:
        out: the report's folder; records in its cells/ that are no longer used are removed.
        title: heading of the table.
        cells: the planned cells, in the order of the suite.
        records: ledger records by key.
        notes: what a reader must know before the first number, such as the data it was made on.

    Returns:
        The path of the Markdown table.
    """
    table = main_table(cells, records)
    _write_cells(out / "cells", {cell.key for cell in cells if cell.key in records}, records)
    write_atomic(out / "tables" / "scores.csv", scores_csv(table))
    write_atomic(out / "tables" / "main.csv", main_csv(table))
    main = out / "tables" / "main.md"
    write_atomic(main, markdown(title, table, notes))
    return main


def _write_cells(folder: Path, used: set[str], records: Records) -> None:
    for key in sorted(used):
        write_json(folder / f"{key}.json", records[key])
    for path in folder.glob("*.json"):
        if re.fullmatch(r"[0-9a-f]{64}", path.stem) and path.stem not in used:
            path.unlink()
