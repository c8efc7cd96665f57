"""Details of a cell: its runs with recipe, software and digests, in a compact form for thousands of runs.

Recipes are trees that share most of their branches, so each distinct branch is stored once (`SharedBranches`). Curves
are thinned to the resolution of a small plot; the records in cells/ have all epochs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sg_bench.config import key_of
from sg_bench.evaluation.metrics import scale_of, unit_of
from sg_bench.ledger import Record
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import Cell
from sg_bench.reporting.intervals import score_interval
from sg_bench.reporting.page.content import PageCell, PageColumn, PageContent, state_of
from sg_bench.statistics.ties import TIE_TEST

CURVE_COLUMNS = ("step", "best", "train.loss", "validation.loss")
MAX_POINTS = 40
"""Most epochs of a curve in the page."""
MIN_P = 0.001
"""Smaller p-values are printed as < 0.001."""
COMPUTED_PARTS = ("store", "initialisation")
"""Parts of a cell's recipe that have keys of their own."""
TIMES = (
    "wall_seconds",
    "processor_seconds",
    "peak_memory_mib",
    "peak_device_memory_mib",
    "reserved_device_memory_mib",
)


class SharedBranches:
    """Nested mappings, each distinct one stored once; inner mappings are replaced by {"$": number}."""

    def __init__(self) -> None:
        self.branches: list[dict[str, Any]] = []
        self.keys: dict[int, str] = {}
        """Keys of the branches that are recipes of their own, by number."""
        self._numbers: dict[str, int] = {}

    def add(self, branch: Mapping[str, Any]) -> int:
        """Return the number of `branch`, which is stored if it is new."""
        text = json.dumps(branch, sort_keys=True)
        if text not in self._numbers:
            packed = {str(name): self._packed(value) for name, value in sorted(branch.items())}
            self._numbers[text] = len(self.branches)
            self.branches.append(packed)
        return self._numbers[text]

    def add_recipe(self, recipe: Mapping[str, Any]) -> int:
        """Return the number of a cell's recipe; also stores the keys of its store and initialisation."""
        number = self.add(recipe)
        for name in COMPUTED_PARTS:
            part = self.branches[number].get(name)
            if isinstance(part, dict) and part["$"] not in self.keys:
                self.keys[part["$"]] = key_of(recipe[name])
        return number

    def _packed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {"$": self.add(value)}
        if isinstance(value, (list, tuple)):
            return [self._packed(item) for item in value]
        return value


def run_of(cell: Cell, evidence: Evidence, branches: SharedBranches) -> dict[str, Any]:
    """Return one planned run in any state as JSON data for the page."""
    state = state_of(cell, evidence.records)
    run: dict[str, Any] = {"state": state, "seeds": [cell.pretraining_seed, cell.fine_tuning_seed]}
    if state == "missing":
        return {**run, "why": cell.missing}
    run["key"] = cell.key
    return run if state == "pending" else {**run, **_recorded(evidence, cell.key, branches)}


def _recorded(evidence: Evidence, key: str, branches: SharedBranches) -> dict[str, Any]:
    record = evidence.records[key]
    recipe, ran = record.get("recipe"), record.get("ran") or {}
    times = {name: ran[name] for name in TIMES if name in ran}
    environment = {name: value for name, value in ran.items() if name not in times}
    data = {name: record[name] for name in ("counts", "loaded") if record.get(name)}
    packed = {
        "metrics": record.get("metrics"),
        "error": _error(record),
        "curve": curve_of(evidence.tables.curves(key, CURVE_COLUMNS), branches),
        "recipe": branches.add_recipe(recipe) if recipe else None,
        "ran": branches.add(environment) if environment else None,
        "times": times,
        "data": branches.add(data) if data else None,
        "outputs": branches.add(record["outputs"]) if record.get("outputs") else None,
    }
    return {name: value for name, value in packed.items() if value not in (None, {})}


def data_of(content: PageContent) -> dict[str, Any]:
    """Return the JSON data of the page: methods, columns, cells, runs and the branches of their recipes."""
    branches = SharedBranches()
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (method, task), cells in content.runs.items():
        runs.setdefault(task, {})[method] = [run_of(cell, content.evidence, branches) for cell in cells]
    entries = {entry.place: _summary_lines(entry) for _, found in content.rows for entry in found if entry.planned}
    return {
        "methods": [method for method, _ in content.rows],
        "columns": [_column(shown) for shown in content.columns],
        "entries": entries,
        "runs": runs,
        "branches": branches.branches,
        "keys": branches.keys,
        "units": {name: unit for name in sorted(_metrics(content)) if (unit := unit_of(name)) != "%"},
    }


def _metrics(content: PageContent) -> set[str]:
    """Return the names of all metrics of the runs."""
    return {name for found in content.evidence.runs.values() for run in found for name in run.record["metrics"]}


def curve_of(rows: Sequence[Mapping[str, Any]], branches: SharedBranches) -> dict[str, Any]:
    """Return the losses by step, at most `MAX_POINTS` of them, and the step of the selected weights.

    Args:
        rows: one per epoch, as recorded by the training loop.
        branches: stores the steps, which most curves share.
    """
    known = [row for row in rows if "step" in row]
    if not known:
        return {}
    last = len(known) - 1
    every = -(-last // (MAX_POINTS - 1)) or 1
    kept = [*known[:last:every], known[last]]
    steps = {"step": [row["step"] for row in kept], "epochs": len(known)}
    parts = {part: [_loss(row, part) for row in kept] for part in ("train", "validation")}
    best = [row["step"] for row in known if row.get("best")]
    return {"steps": branches.add(steps), **parts, "best": best[-1] if best else None}


def _loss(row: Mapping[str, Any], part: str) -> float | None:
    loss = (row.get(part) or {}).get("loss")
    return None if loss is None else float(f"{loss:.4g}")


def _error(record: Record) -> dict[str, str] | None:
    error = record.get("error")
    return {name: str(error[name]) for name in ("kind", "type", "message") if name in error} if error else None


def _column(shown: PageColumn) -> dict[str, Any]:
    column = shown.column
    return {
        "task": column.task,
        "metric": column.metric,
        "role": column.role,
        "low": shown.low,
        "high": shown.high,
        "unit": unit_of(column.metric),
    }


def _summary_lines(entry: PageCell) -> list[tuple[str, str]]:
    """Return (label, text) pairs for the head of a cell's details."""
    summary, units = entry.summary, entry.summary.units
    metric = entry.shown.column.metric
    mean = f"{entry.mean} ± {entry.std} {unit_of(metric)}".rstrip()
    lines = [("Mean ± SD", mean), ("Runs with a value", f"{summary.n} of {summary.planned}")]
    if units.n:
        one = units.kind == "fine-tuning"
        what = "fine-tuning seeds of one pretraining: about this checkpoint only" if one else "pretrainings"
        lines.append(("Independent repetitions", f"{units.n} {what}"))
    interval = score_interval(units.values, metric)
    if interval:
        low, high = (scale_of(metric) * end for end in (interval.low, interval.high))
        text = f"{low:.2f} to {high:.2f} {unit_of(metric)}".rstrip()
        lines.append(("95 % confidence interval of the mean", text))
    if entry.rank:
        lines.append(("Rank", f"{entry.rank_text} of {len(entry.shown.ranking.ranks)}"))
    lines += [("Leak", leak) for leak in summary.leaks]
    return [*lines, ("Against the best", _against(entry))]


def _against(entry: PageCell) -> str:
    ranking = entry.shown.ranking
    if entry.standing is None:
        return "no comparison: " + (ranking.untested or "no value")
    if entry.standing == "best":
        return "the best" + (f" (not tested: {ranking.untested})" if ranking.untested else "")
    if ranking.untested:
        return f"not tested: {ranking.untested}"
    if entry.method not in ranking.p:
        return "not compared: incomplete, and above the best complete cell"
    found = "not separable" if entry.standing == "inseparable" else "separable"
    p = ranking.p[entry.method]
    return f"{found} ({TIE_TEST}, {f'p = {p:.3f}' if p >= MIN_P else f'p < {MIN_P}'})"
