"""A look at a folder of images: what is in it, as far as a task needs to know."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sg_bench.data.contents import LabelCounts, label_counts
from sg_bench.data.sources.base import Case, Problem, Source
from sg_bench.errors import DataError
from sg_bench.registry import SOURCES

MOST_CASES = 60
"""Cases that are read, at even distances; all of a smaller data set."""
MOST_BYTES = 1_000_000_000
"""Bytes of the files that are read."""
PATIENT_COLUMNS = ("patient", "patient id", "patient_id", "subject", "subject_id")
NOTHING = ("", "no finding", "normal", "none")
"""Names that stand for no finding."""
MOST_CLASSES = 10
"""Different texts of a column that is taken for a class."""


@dataclass
class Survey:
    """What a folder holds."""

    root: Path
    config: Any
    """Settings of the source that reads it."""
    cases: list[Case]
    problems: list[Problem]
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """(x, y, z) of each case that was read."""
    spacings: list[tuple[float, ...]] = field(default_factory=list)
    """Voxel sizes in mm of each case that was read."""
    lowest: float = 0.0
    channels: int = 1
    counts: dict[str, LabelCounts] = field(default_factory=dict)
    """Voxels of each label value, of each case that was read and has a label map."""
    voxels: int = 0
    """Voxels of these label maps."""
    unread: list[str] = field(default_factory=list)
    """Why cases could not be read."""

    @property
    def patients(self) -> int:
        """Return the number of patients."""
        return len({case.patient for case in self.cases})

    @property
    def flat(self) -> bool:
        """Return whether the images are films."""
        return all(shape[2] == 1 for shape in self.shapes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the median shape."""
        x, y, z = np.median(np.array(self.shapes), axis=0).astype(int).tolist()
        return x, y, z

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the median voxel size in mm."""
        x, y, z = np.median(np.array(self.spacings), axis=0).tolist()
        return x, y, z

    @property
    def values(self) -> dict[int, float]:
        """Return the share of all voxels that each label value but 0 has."""
        total: Counter[int] = Counter()
        for counts in self.counts.values():
            total.update(counts)
        return {value: total[value] / max(1, self.voxels) for value in sorted(total)}

    def lines(self) -> list[str]:
        """Return what was found, for the terminal."""
        x, y, z = self.shape
        spacing = _sides(self.spacing)
        lines = [
            f"{len(self.cases)} cases of {self.patients} patients, {self.channels} "
            f"channel{'s' if self.channels > 1 else ''}{_named(self.config.channels)}",
            f"median size {x} x {y} x {z} voxels of {spacing} mm" if z > 1 else f"median size {x} x {y} pixels",
        ]
        for name, sizes in (("shapes", self.shapes), ("voxel sizes", self.spacings)):
            if len({tuple(np.round(each, 2)) for each in sizes}) > 1 and (name == "shapes" or z > 1):
                low, high = (
                    " x ".join(f"{side:.3g}" for side in edge(np.array(sizes), axis=0)) for edge in (np.min, np.max)
                )
                lines.append(f"{name} from {low} to {high}")
        if self.counts:
            shares = ", ".join(f"{value} ({share:.2%} of voxels)" for value, share in self.values.items())
            lines.append(f"label values {shares or 'none but 0'}, in {len(self.counts)} label maps")
        if len(self.shapes) < len(self.cases):
            lines.append(f"{len(self.shapes)} of the {len(self.cases)} cases were read")
        return lines


def survey(root: Path) -> Survey:
    """Recognise the layout of a folder and read some of its cases.

    Raises:
        DataError: no layout is recognised, or no case can be read.
    """
    from sg_bench.data.sources.folder import recognise

    config = recognise(root)
    if config is None:
        raise DataError(f"{root}: no images in a known layout were found", hint="See docs/own-scans.md for layouts")
    config = with_table(root, config)
    source: Source = SOURCES.load("folder")(config, root)
    found = Survey(root, config, source.cases, source.problems())
    left = MOST_BYTES
    for case in _spread(source.cases, MOST_CASES):
        left -= sum(path.stat().st_size for path in case.files())
        if left < 0 and found.shapes:
            break
        _read(source, case, found)
    if not found.shapes:
        raise DataError(f"{root}: no case can be read, first {found.unread[0]}", hint="See sg-bench data check")
    if found.channels > 1 and not config.channels:
        names = tuple(f"channel_{number}" for number in range(found.channels))
        found.config = config.model_copy(update={"channels": names})
    return found


def with_table(root: Path, config: Any) -> Any:
    """Return the settings of a folder with the columns of its table, where one has a row for most of its images."""
    if config.layout != "pattern":
        return config
    known = SOURCES.load("folder")(config.model_copy(update={"table": None}), root).scan()
    ids = {case.id for case in known}
    names = [config.table] if config.table else sorted(path.name for path in root.glob("*.[ct]sv"))
    for name in names:
        heading, rows = _table(root / name)
        case = _column_of(heading, rows, ids)
        if case and not any("image" in column.lower() and column != case for column in heading if _paths(rows, column)):
            return _with_columns(config, name, case, heading, rows)
    return config


def _with_columns(config: Any, table: str, case: str, heading: Sequence[str], rows: list[dict[str, str]]) -> Any:
    lower = {name.lower(): name for name in heading if name != case}
    patient = next(
        (lower[each] for each in ("patient", "patient id", "patient_id", "subject", "subject_id") if each in lower), ""
    )
    split = next((lower[each] for each in ("split", "part") if each in lower), "")
    columns = {part: name for part, name in (("case", case), ("patient", patient), ("split", split)) if name}
    listed = next((name for name in heading if any("|" in row[name] for row in rows)), None)
    all_names = {each.strip() for row in rows for each in row[listed].split("|")} if listed else set()
    names = sorted(name for name in all_names if name.lower() not in NOTHING)
    known = [
        name
        for name in heading
        if name not in {*columns.values(), listed} and not any("," in row[name] for row in rows)
    ]
    attributes = tuple(dict.fromkeys([*(names or known)]))
    changes = {"table": table, "columns": columns, "attributes": attributes, "findings_column": listed}
    return type(config).model_validate({**config.model_dump(exclude_defaults=True), **changes})


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the heading and rows of a table; nothing of a file that is none."""
    try:
        text = path.read_bytes()[:64_000_000].decode("utf-8-sig")
        tab = "\t" if path.suffix.lower() == ".tsv" else ","
        lines = [row for row in csv.reader(text.splitlines(), delimiter=tab) if row]
    except (OSError, ValueError, csv.Error):
        return [], []
    heading = [name.strip() for name in lines[0]] if lines else []
    rows = [dict(zip(heading, row, strict=True)) for row in lines[1:] if len(row) == len(heading)]
    return (heading, rows) if len(set(heading)) == len(heading) else ([], [])


def _column_of(heading: Sequence[str], rows: list[dict[str, str]], ids: set[str]) -> str:
    """Return the first column that names most of the cases, with or without the ending of a file; "" if none does."""
    for name in heading:
        named = {part for row in rows for part in (row[name].strip(), Path(row[name].strip()).name.partition(".")[0])}
        if 2 * len(named & ids) > len(ids):
            return name
    return ""


def _paths(rows: list[dict[str, str]], column: str) -> bool:
    return any("/" in row[column] for row in rows[:5])


def _spread(cases: Sequence[Case], count: int) -> list[Case]:
    if len(cases) <= count:
        return list(cases)
    return [cases[int(place)] for place in np.linspace(0, len(cases) - 1, count)]


def _read(source: Source, case: Case, found: Survey) -> None:
    try:
        study = source.load(case)
    except DataError as error:
        found.unread.append(f"{case.id}: {error}".replace(f"{found.root}/", ""))
        return
    image = study.image
    found.shapes.append(image.shape[-3:])
    found.channels = max(found.channels, image.shape[0] if image.ndim == 4 else 1)
    found.spacings.append(tuple(np.linalg.norm(study.affine[:3, :3], axis=0).tolist()))
    found.lowest = min(found.lowest, float(image.min()))
    if study.label is not None:
        found.counts[case.id] = label_counts(study.label)
        found.voxels += study.label.size


def _sides(sizes: Any) -> str:
    return " x ".join(f"{float(size):.3g}" for size in sizes)


def _named(channels: Sequence[str]) -> str:
    return f" ({', '.join(channels)})" if channels else ""
