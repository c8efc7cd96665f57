"""Where each number of the page comes from: its runs with recipe, software and digests, in a compact form.

Recipes are trees that share most of their branches, so each distinct branch is stored once (`SharedBranches`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sg_bench.config import key_of
from sg_bench.evaluation.metrics import scale_of, unit_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import Cell
from sg_bench.reporting.intervals import score_interval
from sg_bench.reporting.page.content import PageCell, PageContent, state_of
from sg_bench.statistics.ties import TIE_TEST

MIN_P = 0.001
"""Smaller p-values are printed as < 0.001."""
SHOWN = ("error", "loaded", "metrics", "counts", "outputs", "ran")
"""Parts of a record that are shown as they are."""
COMPUTED_PARTS = ("store", "initialisation")
"""Parts of a cell's recipe that have keys of their own."""


class SharedBranches:
    """Nested mappings, each distinct one stored once; inner mappings are replaced by {"$": number}."""

    def __init__(self) -> None:
        self.branches: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, branch: Mapping[str, Any]) -> int:
        """Return the number of `branch`, which is stored if it is new."""
        text = json.dumps(branch, sort_keys=True)
        if text not in self._numbers:
            packed = {str(name): self._packed(value) for name, value in branch.items()}
            self._numbers[text] = len(self.branches)
            self.branches.append(packed)
        return self._numbers[text]

    def _packed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {"$": self.add(value)}
        if isinstance(value, (list, tuple)):
            return [self._packed(item) for item in value]
        return value


def data_of(content: PageContent) -> dict[str, Any]:
    """Return the JSON data of the page: methods, columns, cells, runs and the branches of their records."""
    branches = SharedBranches()
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (method, task), cells in content.runs.items():
        runs.setdefault(task, {})[method] = [run_of(cell, content.evidence, branches) for cell in cells]
    columns = [(shown.column.task, shown.column.metric) for shown in content.columns]
    return {
        "methods": [method for method, _ in content.rows],
        "columns": [
            {"task": task, "metric": metric, "scale": scale_of(metric), "unit": unit_of(metric)}
            for task, metric in columns
        ],
        "cells": {cell.place: summary_lines(cell) for _, found in content.rows for cell in found if cell.planned},
        "runs": runs,
        "branches": branches.branches,
    }


def run_of(cell: Cell, evidence: Evidence, branches: SharedBranches) -> dict[str, Any]:
    """Return one planned run in any state as JSON data for the page."""
    state = state_of(cell, evidence.records)
    run: dict[str, Any] = {"state": state, "seeds": [cell.pretraining_seed, cell.fine_tuning_seed], "key": cell.key}
    if state == "missing":
        run["why"] = cell.missing
    if state in ("done", "failed"):
        record = evidence.records[cell.key]
        recipe = record.get("recipe") or {}
        keys = {name: key_of(recipe[name]) for name in COMPUTED_PARTS if isinstance(recipe.get(name), dict)}
        parts = {name: record[name] for name in SHOWN if record.get(name)}
        parts |= {"keys": {"cell": cell.key, **keys}} | ({"recipe": recipe} if recipe else {})
        run |= {"scores": record.get("metrics") or {}, "record": branches.add(parts)}
        if state == "failed":
            run["why"] = "{type} ({kind}): {message}".format_map(
                {"type": "Error", "kind": "unknown", "message": "no message", **(record.get("error") or {})}
            )
    return run


def summary_lines(cell: PageCell) -> list[tuple[str, str]]:
    """Return (label, text) pairs for the head of a cell's details."""
    summary, units, metric = cell.summary, cell.summary.units, cell.shown.column.metric
    lines = [("Mean ± SD", f"{cell.mean} ± {cell.std} {unit_of(metric)}".rstrip())]
    lines += [("Runs with a value", f"{summary.n} of {summary.planned}")]
    if units.n:
        one = units.kind == "fine-tuning"
        what = "fine-tuning seeds of one pretraining: about this checkpoint only" if one else "pretrainings"
        lines.append(("Independent repetitions", f"{units.n} {what}"))
    interval = score_interval(units.values, metric)
    if interval:
        low, high = (scale_of(metric) * end for end in (interval.low, interval.high))
        lines.append(("95 % interval of the mean", f"{low:.2f} to {high:.2f} {unit_of(metric)}".rstrip()))
    if cell.rank:
        lines.append(("Rank", f"{cell.rank_text} of {len(cell.shown.ranking.ranks)}"))
    lines += [("Leak", leak) for leak in summary.leaks]
    return [*lines, ("Against the best", _against(cell))]


def _against(cell: PageCell) -> str:
    ranking = cell.shown.ranking
    if cell.standing is None:
        return "no comparison: " + (ranking.untested or "no value")
    if cell.standing == "best":
        return "the best" + (f" (not tested: {ranking.untested})" if ranking.untested else "")
    if ranking.untested:
        return f"not tested: {ranking.untested}"
    if cell.method not in ranking.p:
        return "not compared: incomplete, and above the best complete cell"
    found = "not separable" if cell.standing == "inseparable" else "separable"
    p = ranking.p[cell.method]
    return f"{found} ({TIE_TEST}, {f'p = {p:.3f}' if p >= MIN_P else f'p < {MIN_P}'})"
