"""Per-case scores and curves of records, wherever these are: in a folder, or in memory with their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_bench.errors import SgBenchError
from sg_bench.ledger.records import load_old_tables
from sg_bench.ledger.schema import Record
from sg_bench.ledger.tables import TableName, read_table, rows_of, table_of, table_path

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class ScoreTables:
    """The per-case scores and curves of some records: read from their folder, or from the records' own rows.

    Nothing is kept in memory: each call reads again.
    """

    def __init__(self, records: Mapping[str, Record], cells: Path | None = None) -> None:
        """Take records by key, and the folder of their tables; rows inside a record come first."""
        self.records, self.cells = records, cells

    def count(self, key: str) -> int:
        """Return the number of test cases of a record."""
        record = self.records[key]
        rows = record.get("cases")
        return len(rows) if rows is not None else int(record.get("tables", {}).get("cases", {}).get("rows", 0))

    def case_scores(self, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row a test case, as `Ledger.case_scores` does."""
        frame: pd.DataFrame = self._table(key, "cases", columns).to_pandas()
        return frame

    def case_rows(self, key: str) -> list[dict[str, Any]]:
        """Return the test cases as dictionaries, with None where a value is undefined; slow for large test sets."""
        rows: list[dict[str, Any]] = self._table(key, "cases").to_pylist()
        return rows

    def curves(self, key: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row an epoch, as `Ledger.curves` does; columns such as "validation.loss" choose some of it."""
        return rows_of(self._table(key, "curves", columns))

    def _table(self, key: str, name: TableName, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a record's table, an empty one if it has none."""
        record = self.records[key]
        description = record.get("tables", {}).get(name)
        if record.get(name) is not None or description is None:
            return _chosen(table_of(record.get(name) or ()), columns)
        if self.cells is None:
            problem = f"the {name} of cell {key[:12]} are not at hand"
            raise SgBenchError(problem, hint="Name the workspace of its record")
        path = table_path(self.cells, key, name, description)
        if not path.is_file():
            for table in load_old_tables(self.cells, key):
                if table.name == name and table.description == description:
                    return _chosen(table.content, columns)
        return read_table(path, description, columns=columns)


def _chosen(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return table if columns is None else table.select([name for name in columns if name in table.column_names])
