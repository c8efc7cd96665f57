"""A user's table of cases: patients, files, parts of a split and attributes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.found import FoundCase, FoundFolder
from sg_bench.data.sources.folder.reading import file_stem
from sg_bench.data.sources.headers import leaves_folder
from sg_bench.errors import DataError, did_you_mean

TableRow = Mapping[str, str]
_USUAL = {
    "case": ("case", "id", "case_id", "image_id", "name", "filename"),
    "patient": ("patient", "patient_id", "subject", "subject_id", "participant_id"),
    "image": ("image", "image_path", "path", "file"),
    "label": ("label", "label_path", "mask", "segmentation"),
    "split": ("split", "part", "fold"),
}
"""Names of columns, of which the first that exists is used; in any case."""
_LONGEST = 64 * 2**20
"""Bytes of a table."""
_MOST_COLUMNS = 10_000


class CaseTable:
    """The rows of a table, by line number, with the names of its columns.

    Raises:
        DataError: it is missing, too long, no table of text, or lacks a column.
    """

    def __init__(self, path: Path, config: FolderConfig) -> None:
        self.path = path
        heading, self.rows = _read(path)
        self.columns = {part: self._column(part, config, heading) for part in _USUAL}
        self.names = config.attributes
        """Columns that are kept with each case."""
        if "*" in config.attributes:
            self.names = tuple(name for name in heading if name and name not in self.columns.values())
        absent = [name for name in self.names if name not in heading and not config.findings_column]
        absent += [name for name in (config.findings_column,) if name and name not in heading]
        if absent:
            raise DataError(f"{path}: it has no column '{absent[0]}'", hint=did_you_mean(absent[0], heading))

    def lists_images(self, config: FolderConfig) -> bool:
        """Return whether its rows are the cases: it has a column of images, or one for each channel."""
        channels = bool(config.channels) and all(name in self.rows[0][1] for name in config.channels)
        return channels or bool(self.columns["image"])

    def value(self, row: TableRow, part: str) -> str:
        """Return the value of one of the five known columns; "" if there is none."""
        return row.get(self.columns[part], "").strip()

    def attributes(self, row: TableRow, config: FolderConfig) -> dict[str, str | float]:
        """Return the declared attributes of a row; empty ones are left out."""
        named = [each.strip() for each in row.get(config.findings_column or "", "").split("|")]
        found: dict[str, str | float] = {}
        for name in self.names:
            if name not in row:
                found[name] = float(name in named)
            elif (value := as_value(row[name])) != "":
                found[name] = value
        return found

    def _column(self, part: str, config: FolderConfig, heading: list[str]) -> str:
        own = {str(key): name for key, name in config.columns.items()}.get(part)
        if own is not None:
            if own not in heading:
                raise DataError(f"{self.path}: it has no column '{own}'", hint=did_you_mean(own, heading))
            return own
        taken = {*config.attributes, config.findings_column}
        lower = {name.lower(): name for name in reversed(heading) if name not in taken}
        return next((lower[name] for name in _USUAL[part] if name in lower), "")


def as_value(text: str) -> str | float:
    """Return a cell as a finite number if it is one, else as text without blanks around it; "" for nan and n/a."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return "" if text.lower() in ("n/a", "na", "none", "null") else text
    return "" if math.isnan(number) else text if math.isinf(number) else number


def read_table(root: Path, config: FolderConfig) -> CaseTable:
    """Return the table of a folder.

    Raises:
        DataError: it is outside of the folder, or as `CaseTable` says.
    """
    assert config.table is not None
    if leaves_folder(config.table):
        raise DataError(f"{root}: table '{config.table}' leaves the data set's folder", hint="Write it relative to it")
    return CaseTable(root / config.table, config)


def usual_columns(path: Path, ids: set[str]) -> bool:
    """Return whether a file is a table that has a column of cases, under a usual name, with most of `ids`."""
    try:
        table = CaseTable(path, FolderConfig(table=path.name))
    except DataError:
        return False
    named = {file_stem(Path(table.value(row, "case"))) for _, row in table.rows}
    return bool(table.columns["case"]) and 2 * len(ids & named) > len(ids)


def scan_table(root: Path, config: FolderConfig, table: CaseTable) -> FoundFolder:
    """Return the cases of a table that has a column of images, one for each row."""
    found = FoundFolder(has_patients=bool(table.columns["patient"]))
    for line, row in table.rows:
        where = f"{table.path}, line {line}"
        columns = config.channels if config.channels and all(name in row for name in config.channels) else ()
        names = [row[name].strip() for name in columns] or [table.value(row, "image")]
        if not all(names):
            found.problems.append(Problem(where, "it names no image. Complete the row, or remove it"))
            continue
        case = FoundCase(table.value(row, "case") or file_stem(Path(names[0])), table.value(row, "patient"))
        case.image, *channels = (root / name for name in names)
        case.channels = tuple(channels)
        if config.labels is not None or table.columns["label"]:
            case.label = root / table.value(row, "label") if table.value(row, "label") else None
        _check_files(case, where, root, labelled=bool(table.columns["label"]))
        _complete(case, table, row, config)
        found.cases.append(case)
    return found


def join_table(found: FoundFolder, config: FolderConfig, table: CaseTable) -> None:
    """Give the cases of a folder what the table says of them; a case without a row cannot be used."""
    key = "case" if table.columns["case"] else "patient"
    if not table.columns[key]:
        raise DataError(f"{table.path}: it has no column case, patient or image", hint="Name one in `columns`")
    rows: dict[str, tuple[int, TableRow]] = {}
    for line, row in table.rows:
        name = table.value(row, key)
        name = file_stem(Path(name)) if key == "case" else name
        first = rows.setdefault(name, (line, row))
        if first[1] is not row and dict(first[1]) != dict(row):
            what = f"'{name}' has another row, line {first[0]}, which is used. Keep one of them"
            found.problems.append(Problem(f"{table.path}, line {line}", what))
    for case in found.cases:
        row = rows.get(case.id if key == "case" else case.patient or case.id, (0, {}))[1]
        if row:
            _complete(case, table, row, config)
        else:
            case.unusable(case.image, f"{table.path} has no row for it. Add the row, or remove the file")
    known = {name for case in found.cases for name in (case.id, case.patient)}
    spare = sorted(name for name in rows if name not in known)
    if spare:
        what = f"{len(spare)} of its {len(rows)} rows have no image, such as '{spare[0]}'. Nothing to do, if intended"
        found.problems.append(Problem(str(table.path), what, warning=True))
    found.has_patients = found.has_patients or bool(table.columns["patient"])


def _complete(case: FoundCase, table: CaseTable, row: TableRow, config: FolderConfig) -> None:
    case.patient = table.value(row, "patient") or case.patient
    case.group = table.value(row, "split") or case.group
    case.attributes = table.attributes(row, config)


def _check_files(case: FoundCase, where: str, root: Path, *, labelled: bool) -> None:
    if labelled and case.label is None:
        case.unusable(where, "it names no label. Complete the row, or remove it")
    for path in (case.image, *case.channels, case.label):
        if path is None:
            continue
        if leaves_folder(path.relative_to(root).as_posix()) or not path.is_relative_to(root):
            case.unusable(where, f"{path} is outside of the data set's folder. Copy it there")
        elif not path.is_file():
            case.unusable(where, f"{path} is missing. Add it, or remove the row")


def _read(path: Path) -> tuple[list[str], list[tuple[int, TableRow]]]:
    """Return the heading and the rows, of equal length, with their line numbers."""
    hint = "Save it as CSV (UTF-8), with the names of the columns in the first line"
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} bytes")
        text = path.read_bytes().decode("utf-8-sig")
        tabs = path.suffix.lower() == ".tsv" or text.partition("\n")[0].count("\t") > text.partition("\n")[0].count(",")
        semicolons = not tabs and text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",")
        reader = csv.reader(text.splitlines(), delimiter="\t" if tabs else ";" if semicolons else ",", strict=True)
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        cause = "it is missing" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:200]
        raise DataError(f"{path}: it cannot be read as a table ({cause})", hint=hint) from error
    heading = [name.strip() for name in lines[0][1]] if lines else []
    if len(lines) < 2 or len(set(heading)) < len(heading) or len(heading) > _MOST_COLUMNS:
        raise DataError(f"{path}: it has no rows, or a column twice: {', '.join(heading)[:200]}", hint=hint)
    wrong = [number for number, row in lines if len(row) != len(heading)]
    if wrong:
        counts = f"{len(heading)} columns, line {wrong[0]} has another number"
        raise DataError(f"{path}: its first line has {counts}", hint="Quote cells that hold a comma")
    return heading, [(number, dict(zip(heading, row, strict=True))) for number, row in lines[1:]]
