"""What a task predicts of whole images, from the columns of the user's table that a store keeps with each case."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.tasks import Task


def columns_of(task: Task, known: Sequence[str] = ()) -> list[str]:
    """Return the columns that a task reads, without findings that its source knows by itself (`known`)."""
    return [name for name in (task.label_column, task.value_column, *task.findings) if name and name not in known]


def with_truth(store: Store, task: Task, ids: Sequence[str]) -> list[str]:
    """Return the cases whose columns are filled in; all of a task that reads no table.

    Raises:
        DataError: no case has a column.
    """
    columns = columns_of(task, list(store.recipe.get("findings") or ()))
    if not columns or not any(case.attributes for case in store.cases):
        return list(ids)
    for column in columns:
        if not any(column in case.attributes for case in store.cases):
            raise _no_column(store, column)
    return [id_ for id_ in ids if all(column in store[id_].attributes for column in columns)]


def class_of(store: Store, task: Task, id_: str) -> NDArray[np.bool_]:
    """Return (1,), whether a case is of the second of two classes, or (classes,), of which its own is true.

    Raises:
        DataError: its column is empty, or holds none of the card's classes.
    """
    found, names = _text(_attribute(store, task.label_column, id_)), list(task.column_classes)
    if found not in names:
        raise DataError(
            f"case '{id_}' has {task.label_column} = '{found}', and the card's classes are {', '.join(names)}",
            hint="Add it to the card's `classes`, or correct the table",
        )
    return np.array([name == found for name in (names if task.exclusive else names[1:])])


def yes_or_no(store: Store, column: str, id_: str) -> bool:
    """Return whether a case has a finding: the source's, or 1 in a column of 0 and 1.

    Raises:
        DataError: the column is empty, or holds something else.
    """
    known = list(store.recipe.get("findings") or ())
    value = store[id_].findings[known.index(column)] if column in known else number_of(store, column, id_)
    if value not in (0, 1):
        raise DataError(f"case '{id_}' has {column} = {value:g}, not 0 or 1", hint="Correct the table's column")
    return bool(value)


def number_of(store: Store, column: str, id_: str) -> float:
    """Return the number in a case's column.

    Raises:
        DataError: it is empty, or holds no finite number.
    """
    found = _attribute(store, column, id_)
    try:
        value = float(found)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"case '{id_}' has {column} = '{found}', which is no number", hint="Correct the table's column")
    return value


def _attribute(store: Store, column: str, id_: str) -> str | float:
    attributes = store[id_].attributes
    if column not in attributes:
        raise _no_column(store, column, f"case '{id_}'")
    return attributes[column]


def _no_column(store: Store, column: str, what: str = "no case") -> DataError:
    known = ", ".join(sorted({name for case in store.cases for name in case.attributes})) or "none"
    subject = (
        f"{what} has the column '{column}'" if what == "no case" else f"{what} has nothing in the column '{column}'"
    )
    return DataError(
        f"{subject}; columns of the data set's table are: {known}",
        hint="Declare it among the source's `attributes`, and fill it in",
    )


def _text(value: str | float) -> str:
    """Return the text of a column's value; a whole number is written without a point."""
    return value.strip() if isinstance(value, str) else f"{value:g}"
