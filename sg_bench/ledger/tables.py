"""Per-case scores and training curves of a record: Parquet files next to it, named by the digest of their content.

A name holds the digest, so a table never changes under its name: a record that is replaced or scored again names
another file, and whatever happens in between, the file that a record names is the one it was written with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sg_bench.digests import content_digest
from sg_bench.errors import SgBenchError
from sg_bench.ledger.schema import Record
from sg_bench.workspace import write_atomic

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TableName = Literal["cases", "curves"]
Row = Mapping[str, Any]
TABLES: tuple[TableName, ...] = ("cases", "curves")
NESTED = ("train", "validation")
"""Fields of a curve's row that hold losses by name; their columns are "train.loss" and so on."""
DIGEST = b"sg_bench.content"
"""Key of the content's digest in the metadata of a Parquet file."""
LONG = ("case",)
"""Columns of ids in rising order: each is stored as its difference from the one before."""
REPEATED = ("patient", "stage")
"""Columns in which few texts repeat; in a DataFrame they are categorical."""


class DamagedTableError(SgBenchError):
    """A table is not there, or does not hold what its record says."""


@dataclass(frozen=True)
class ScoreTable:
    """One table of a record, and what the record holds of it."""

    name: TableName
    content: pa.Table
    description: dict[str, Any]
    """`rows`: how many; `sha256`: the digest of the content."""

    @classmethod
    def of(cls, name: TableName, rows: Iterable[Row]) -> ScoreTable:
        """Return the table of some rows."""
        content = table_of(rows)
        return cls(name, content, {"rows": content.num_rows, "sha256": table_digest(content)})

    def write(self, cells: Path, key: str) -> None:
        """Write the table next to its record, unless it is there."""
        path = table_path(cells, key, self.name, self.description)
        if not path.is_file():
            write_atomic(path, parquet_bytes(self.content, self.description["sha256"]))


def split_tables(record: Record) -> tuple[Record, list[ScoreTable]]:
    """Return a record without its rows of cases and curves, and these as tables, which its `tables` then describes."""
    light = {name: value for name, value in record.items() if name not in TABLES}
    found = [ScoreTable.of(name, record[name]) for name in TABLES if record.get(name) is not None]
    if found:
        light["tables"] = {**record.get("tables", {}), **{table.name: table.description for table in found}}
    if "rescored" in record:
        parts = [split_tables(earlier) for earlier in record["rescored"]]
        light["rescored"] = [earlier for earlier, _ in parts]
        found += [table for _, tables in parts for table in tables]
    return light, found


def table_of(rows: Iterable[Row]) -> pa.Table:
    """Return rows as columns in the order of their names; what a row lacks, or holds as None, is null."""
    import pyarrow as pa

    flat = [_flat(row) for row in rows]
    names = sorted({name for row in flat for name in row})
    columns = {name: pa.array(_texts([row.get(name) for row in flat])) for name in names}
    return pa.table({name: _typed(name, column) for name, column in columns.items()})


def table_digest(table: pa.Table) -> str:
    """Return the digest of a table's columns: the same for the same values, however they are encoded in a file."""
    arrays: dict[str, Any] = {}
    for name in table.column_names:
        _add_arrays(arrays, name, table[name].combine_chunks())
    return content_digest(arrays)


def table_path(cells: Path, key: str, name: TableName, description: Mapping[str, Any]) -> Path:
    """Return the file of a record's table in a folder of records."""
    return cells / f"{key}.{name}-{description['sha256'][:12]}.parquet"


def parquet_bytes(table: pa.Table, digest: str) -> bytes:
    """Return a table as a Parquet file, with the digest of its content in the metadata and a checksum on each page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    strings = {name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({DIGEST: digest}),
        sink,
        compression="zstd",
        compression_level=6,
        use_dictionary=[name for name in table.column_names if name not in LONG],
        column_encoding=dict.fromkeys(strings.intersection(LONG), "DELTA_BYTE_ARRAY"),
        write_page_checksum=True,
    )
    return bytes(sink.getvalue().to_pybytes())


def read_table(path: Path, description: Mapping[str, Any], *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a table, or some of its columns.

    Raises:
        DamagedTableError: the file is absent, damaged, or holds another content than the record names.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            digest = (file.schema_arrow.metadata or {}).get(DIGEST, b"").decode()
            names = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            table = file.read(columns=names)
    except FileNotFoundError as error:
        raise damaged_table(path, "it is not there") from error
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise damaged_table(path, str(error)) from error
    if (digest, table.num_rows) != (description["sha256"], description["rows"]):
        raise damaged_table(path, "it holds another content than its record names")
    return table


def check_table(path: Path, description: Mapping[str, Any]) -> None:
    """Compare the content of a table with its digest.

    Raises:
        DamagedTableError: it cannot be read, or has another digest.
    """
    if table_digest(read_table(path, description)) != description["sha256"]:
        raise damaged_table(path, "its content has another digest than in the record")


def is_intact(path: Path) -> bool:
    """Return whether a table's file holds the content that its name and its metadata promise."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            digest = (file.schema_arrow.metadata or {})[DIGEST].decode()
            return f"-{digest[:12]}." in path.name and table_digest(file.read()) == digest
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException):
        return False


def damaged_table(path: Path, reason: str) -> DamagedTableError:
    """Return the error of a table that cannot be used."""
    reason = " ".join(reason.split()).rstrip(".")
    return DamagedTableError(f"{path} is damaged: {reason}", hint="sg-bench run computes its cell again")


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a table of cases as a DataFrame: undefined scores are NaN, patients a categorical column."""
    frame: pd.DataFrame = table.to_pandas()
    return frame


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of curves, with the losses of each part as a mapping; what is null is left out."""
    rows: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
    for name, values in table.to_pydict().items():
        part, _, loss = name.partition(".")
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                (row.setdefault(part, {}) if loss else row)[loss or name] = value
    return rows


def _flat(row: Row) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name not in NESTED}
    return flat | {f"{part}.{name}": value for part in NESTED for name, value in (row.get(part) or {}).items()}


def _texts(values: list[Any]) -> list[Any]:
    """Return values with texts that are not valid Unicode, such as some file names, escaped: Parquet holds UTF-8."""
    if not any(isinstance(value, str) and not value.isascii() for value in values):
        return values
    return [value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value for value in values]


def _typed(name: str, column: pa.Array) -> pa.Array:
    """Return a column with a type that does not depend on which values are missing.

    Raises:
        ValueError: a number is NaN or infinite; an undefined one is None.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = column.flatten() if pa.types.is_list(column.type) else column
    if pa.types.is_floating(numbers.type) and not pc.all(pc.is_finite(numbers)).as_py() and len(numbers):
        raise ValueError("a table of cases or curves holds NaN or infinity, which is not JSON compliant")
    if name in REPEATED and pa.types.is_string(column.type):
        return column.dictionary_encode()
    if pa.types.is_null(column.type) or (pa.types.is_integer(column.type) and column.null_count):
        return column.cast(pa.float64())
    return column


def _add_arrays(arrays: dict[str, Any], name: str, column: pa.Array) -> None:
    """Add the NumPy arrays that determine a column to `arrays`."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        arrays[f"{name}/null"] = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_list(column.type):
        arrays[f"{name}/lengths"] = column.value_lengths().fill_null(0).to_numpy().astype(np.int64)
        _add_arrays(arrays, f"{name}/values", column.flatten())
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = [text.encode() for text in column.fill_null("").to_pylist()]
        arrays[f"{name}/lengths"] = np.array([len(text) for text in texts], dtype=np.int64)
        arrays[f"{name}/text"] = np.frombuffer(b"".join(texts), dtype=np.uint8)
    else:
        blank = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
        arrays[name] = blank.to_numpy(zero_copy_only=False)
