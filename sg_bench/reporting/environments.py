"""Notes on tables whose runs used different software versions or devices."""

from __future__ import annotations

from collections import Counter

from sg_bench.ledger import Record
from sg_bench.reporting.tables import Table

PACKAGES = ("sg-bench", "torch", "monai", "numpy", "python")
"""Packages whose version can change a score; of Python's version only major and minor."""
DEVICE = "device"


def environment_notes(table: Table) -> list[str]:
    """Return one sentence for each package and for the device that differs between runs of one task.

    Runs of different tasks are never compared, so they may differ. Records that do not name a version are ignored.

    Args:
        table: its rows and printed columns are what a reader compares.
    """
    return [note for aspect in (*PACKAGES, DEVICE) if (note := _note(table, aspect))]


def _note(table: Table, aspect: str) -> str:
    """Return "Different versions of torch within one task: 2.12.0 (scratch); 2.13.0 (mine on ncc)", or ""."""
    methods, tasks = [row.method for row in table.rows], [table.columns[index].task for index in table.printed]
    counts: dict[str, Counter[tuple[str, str]]] = {}
    found = [(cell, _value(record, aspect)) for cell, record in table.done]
    if len({value for _, value in found if value}) < 2:
        return ""
    for cell, value in found:
        if value and cell.method in methods and cell.task in tasks:
            counts.setdefault(value, Counter())[cell.method, cell.task] += 1
    values = Counter(task for each in counts.values() for task in {task for _, task in each})
    mixed = [task for task in dict.fromkeys(tasks) if values[task] > 1]
    totals = sum(counts.values(), Counter[tuple[str, str]]())
    used = {
        value: [text for method in methods if (text := _runs(method, mixed, own, totals))]
        for value, own in sorted(counts.items())
    }
    what = "devices" if aspect == DEVICE else f"versions of {aspect}"
    groups = "; ".join(f"{value} ({', '.join(texts)})" for value, texts in used.items() if texts)
    return f"Different {what} within one task: {groups}." if groups else ""


def _value(record: Record, aspect: str) -> str:
    """Return a package's version without its build tag, or the device; "" where the record does not name it."""
    ran = record.get("ran") or {}
    if aspect == DEVICE:
        return str((ran.get("hardware") or {}).get("device") or "")
    version = str((ran.get("software") or {}).get(aspect) or "").partition("+")[0]
    return ".".join(version.split(".")[:2]) if aspect == "python" else version


def _runs(method: str, tasks: list[str], own: Counter[tuple[str, str]], totals: Counter[tuple[str, str]]) -> str:
    """Return "mine", "mine on ncc and ncs (2 of 5 runs)" where other runs of the method differ, or "" without a run."""
    measured = [task for task in tasks if totals[method, task]]
    if measured and all(own[method, task] == totals[method, task] for task in measured):
        return method
    places = " and ".join(
        _place(task, own[method, task], totals[method, task]) for task in measured if own[method, task]
    )
    return f"{method} on {places}" if places else ""


def _place(task: str, count: int, total: int) -> str:
    return task if count == total else f"{task} ({count} of {total} runs)"
