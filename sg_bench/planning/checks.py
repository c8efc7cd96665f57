"""Checks of a task's and a corpus's cases when a suite is planned: before anything is computed.

They use names, findings, tables and headers; of a user's own folder also a few small label maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sg_bench.config import PARTS, CropRule, Preparation, Shape, Split
from sg_bench.data.contents import label_counts, label_problems
from sg_bench.data.grids import new_axes, turn_to
from sg_bench.data.sampling import CropPlaces
from sg_bench.data.sources.base import Case, Source
from sg_bench.data.splits import IdLists, SplitParts, assign, list_lines, unknown_names
from sg_bench.errors import DataError, UsageError, did_you_mean
from sg_bench.resources import task_cards
from sg_bench.tasks import Task

MOST_LABEL_MAPS = 20
"""Label maps of a user's folder that a plan reads, until each value that the card names has been found."""
MOST_BYTES = 64_000_000
"""Bytes of the files of these cases."""


def check_lists(split: Split, folder: Path, cases: Sequence[Case], data: str) -> None:
    """Check that each entry of a split's lists names a case or patient.

    Args:
        split: as the suite or card writes it, its lists named by files.
        folder: where these files are.
        cases: all cases of the data.
        data: its name.

    Raises:
        UsageError: an entry names none; gives the file and the line.
    """
    for part, file in split.lists.items():
        lines = list_lines(folder / file)
        unknown = unknown_names(lines, cases)
        if unknown:
            first = min(unknown, key=lambda name: lines[name])
            more = f" and {len(unknown) - 1} more entries" if len(unknown) > 1 else ""
            names = {case.id for case in cases} | {case.patient for case in cases}
            known = (
                did_you_mean(first, names) if len(names) <= 12 else did_you_mean(first, names).partition("Known:")[0]
            )
            problem = f"{folder / file}, line {lines[first]}: '{first}'{more} of the {part} list"
            hint = f"{known.strip()}. Correct the list, or complete the data".lstrip(". ")
            raise UsageError(f"{problem} names no case or patient of the data '{data}'", hint=hint)


def check_parts(task: Task, split: Split, cases: Sequence[Case], lists: IdLists, folds: Iterable[int]) -> list[str]:
    """Check that a task's cases fill its parts, each with what its headline needs; return warnings.

    Args:
        task: the task.
        split: its split, with the digests of its lists.
        cases: all cases of its data.
        lists: the contents of the lists.
        folds: fine-tuning seeds, which choose the folds.

    Raises:
        DataError: a part would be empty, or of one class; there are too few patients for the parts or folds.
    """
    warnings: dict[str, None] = {}
    for fold in dict.fromkeys(seed % split.folds if split.folds else 0 for seed in folds):
        parts = assign(cases, split, fold=fold, lists=lists)
        for line in _outcome_problems(task, cases, parts):
            warnings[line] = None
    return list(warnings)


def check_crops(
    rule: CropRule, source: Source, cases: Sequence[Case], preparation: Preparation, what: str, hint: str
) -> None:
    """Check that the crops of a pretraining or discovery fit into some volume, by the headers of a user's NIfTI files.

    Raises:
        DataError: they fit into none.
    """
    largest: Shape | None = None
    for shape in _shapes(source, cases, preparation):
        if CropPlaces(np.broadcast_to(np.float16(0), shape), rule).large_enough:
            return
        largest = shape if largest is None else max(largest, shape, key=lambda each: int(np.prod(each)))
    if largest is not None:
        cube, border = (" x ".join(map(str, each)) for each in (rule.cube, rule.border))
        kept = f", {border} voxels from each side and {rule.air.look_ahead} slices above," if rule.air else ""
        found = " x ".join(map(str, largest))
        raise DataError(
            f"{what}: crops of {cube}{kept or f' with borders of {border}'} fit into none of its volumes, of which the "
            f"largest is {found} voxels as prepared",
            hint=hint,
        )


def check_label_values(task: Task, source: Source, cases: Sequence[Case]) -> list[str]:
    """Check the values of a few label maps of a user's folder against those that a card names; return warnings.

    Raises:
        DataError: all label maps were read, and a value that the card names is in none of them.
    """
    masks = task.masks
    labelled = [case for case in cases if case.label is not None]
    if not masks or not labelled or not _is_own(source):
        return []
    read, values, budget = 0, set[int](), MOST_BYTES
    for case in labelled[:MOST_LABEL_MAPS]:
        budget -= sum(path.stat().st_size for path in case.files())
        if budget < 0 or all(values.intersection(wanted) for wanted in masks.values()):
            break
        found = _values(source, case)
        values |= found or set()
        read += found is not None
    return label_problems(masks, values, read, len(labelled))


def settings_without_effect(task: Task) -> list[str]:
    """Return a warning for each setting that a user's card gives and that changes nothing."""
    if task.name in task_cards():
        return []
    given = set(_given(task))
    unused = {*task.without_effect(), *(f"sampling.{name}" for name in task.sampling.without_effect())}
    unused |= {f"preparation.{name}" for name in task.preparation.without_effect()}
    return [f"`{name}` has no effect here" for name in sorted(unused & given - {"split.seed", "training"})]


def _given(model: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of the settings that are given and differ from their defaults."""
    for name in model.model_fields_set:
        value, default = getattr(model, name), type(model).model_fields[name].get_default(call_default_factory=True)
        if hasattr(value, "model_fields_set"):
            yield from _given(value, f"{prefix}{name}.")
        if value != default:
            yield f"{prefix}{name}"


def _outcome_problems(task: Task, cases: Sequence[Case], parts: SplitParts) -> list[str]:
    """Return warnings of findings, classes or numbers that a part lacks.

    Raises:
        DataError: the headline would be undefined, or nothing could be learnt.
    """
    by_id = {case.id: case for case in cases}
    columns = [task.label_column or task.value_column] if task.label_column or task.value_column else []
    if columns:
        _check_columns(columns, cases)
        return _column_problems(task, columns[0], {part: [by_id[id_] for id_ in parts[part]] for part in PARTS})
    attributes = [name for name in task.findings if any(name in case.attributes for case in cases)]
    single = {}
    for part in ("train", "test"):
        for name in attributes:
            found = {str(by_id[id_].attributes[name]) for id_ in parts[part] if name in by_id[id_].attributes}
            if len(found) < 2:
                single[part, name] = ", ".join(f"{name} = {each}" for each in found) or f"no {name}"
    if attributes and len(single) and all(("test", name) in single for name in attributes):
        first = single["test", attributes[0]]
        raise DataError(f"the test part is of one class: {first} in all its {len(parts['test'])} cases", hint=_STRATIFY)
    return [f"the {part} part is of one class: {what} in all its cases" for (part, _), what in single.items()]


_STRATIFY = "Set split.stratify, give the parts other shares or another seed, or add data"


def _check_columns(columns: Sequence[str], cases: Sequence[Case]) -> None:
    for column in columns:
        if not any(column in case.attributes for case in cases):
            known = sorted({name for case in cases for name in case.attributes})
            hint = did_you_mean(column, known) if known else "Set `table` and `attributes` of the source"
            raise DataError(f"no case has the column '{column}'", hint=hint)


def _column_problems(task: Task, column: str, parts: Mapping[Any, Sequence[Case]]) -> list[str]:
    """Return warnings of classes that a part lacks.

    Raises:
        DataError: a class that no case has, a training or test part of one class or of one number.
    """
    warnings = []
    for part, members in parts.items():
        found = [_text(case.attributes[column]) for case in members if column in case.attributes]
        if members and part != "validation" and len(set(found)) < 2:
            what = f"{column} = {found[0]}" if found else f"no {column}"
            word = "class" if task.label_column else "value"
            raise DataError(f"the {part} part is of one {word}: {what} in all its {len(members)} cases", hint=_STRATIFY)
        strange = sorted(set(found) - task.column_classes.keys()) if task.label_column else []
        if strange:
            known = ", ".join(task.column_classes)
            raise DataError(
                f"{column} = '{strange[0]}' in the table is none of the card's classes ({known})",
                hint="Add it to `classes`, or correct the table",
            )
        absent = [name for text, name in task.column_classes.items() if text not in found]
        warnings += [f"no {part} case is of class {name}" for name in absent if members and part != "validation"]
    return warnings


def _text(value: str | float) -> str:
    """Return the text of a column's value; a whole number is written without a point."""
    return value.strip() if isinstance(value, str) else f"{value:g}"


def _is_own(source: Source) -> bool:
    """Return whether a source reads a user's own folder."""
    return source.needs_root and source.about is None


def _shapes(source: Source, cases: Sequence[Case], preparation: Preparation) -> Iterator[Shape]:
    """Yield the shapes that a user's NIfTI images will have once they are prepared; a damaged header is left out."""
    from sg_bench.data.sources.volumes import read_grid

    for case in cases:
        if not _is_own(source) or case.image is None or not case.image.name.lower().endswith((".nii", ".nii.gz")):
            continue
        try:
            sides, affine = read_grid(case.image)
        except DataError:
            continue
        turn = turn_to(preparation.orientation, affine)
        sizes = [len(axis.index) for axis in new_axes(sides[:3], affine, preparation, turn)]
        x, y, z = (sizes[int(axis)] for axis in np.argsort(turn[:, 0]))
        yield x, y, z


def _values(source: Source, case: Case) -> frozenset[int] | None:
    states = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in case.files())
    return _read_values(_Loader(source, case), states)


class _Loader:
    """Reads the label map of a case; all loaders are equal, as the states of the files distinguish them."""

    def __init__(self, source: Source, case: Case) -> None:
        self.source, self.case = source, case

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Loader)


@lru_cache(maxsize=1024)
def _read_values(loader: _Loader, states: tuple[Any, ...]) -> frozenset[int] | None:
    """Return the values of a label map but 0; None of one that cannot be read, which is left out later."""
    try:
        return frozenset(label_counts(loader.source.load(loader.case).label))
    except DataError:
        return None
