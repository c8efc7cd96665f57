"""Computing cost: wall and processor time and peak memory, of pretraining and of fine-tuning.

The numbers come from the field `ran` of the records. A pretraining's record is next to its weights in the workspace;
without the workspace its cost is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sg_bench.config import key_of
from sg_bench.ledger import Record
from sg_bench.planning import Predicted, hardware_name, predicted_of
from sg_bench.reporting.documents import (
    DASH,
    Document,
    Footnotes,
    PrintedCell,
    PrintedRow,
    PrintedTable,
    csv_text,
    headings,
    printed_row,
    signed,
)
from sg_bench.reporting.tables import Table
from sg_bench.workspace import Workspace, read_json

DISCOVERY = "auto-encoder of discovery"
"""Row of the auto-encoder that self-discovery trains once for all methods that use its patterns."""
NO_RECORD = "the record of the pretraining is not available (report with the workspace that computed it)"
LEGEND = (
    "Means over runs, in seconds (s). Processor seconds are summed over the threads of the process; for a pretraining "
    "on several workers, they and the peak are those of the first worker.",
    "Peak memory: the highest of any run, of the complete process; a process that computed several jobs keeps the "
    "peak of all of them.",
    "The auto-encoder of discovery is trained once and shared; the cost of cropping the patterns is not recorded.",
)
FORECAST_LEGEND = (
    "Predicted: when the run that computed them began, from measurements of this hardware and from equal runs on it. "
    "Other programs on the machine change the wall time, and hardly the processor time.",
)
STAGES = ("pretraining", "fine-tuning")
SECONDS = ("wall_seconds", "processor_seconds")
PEAKS = ("peak_memory_mib", "peak_device_memory_mib")
CSV_COLUMNS = ("stage", "method", "task", "runs", *SECONDS, *(f"{name}_all" for name in SECONDS), *PEAKS)


@dataclass(frozen=True)
class Cost:
    """The cost of some runs."""

    ran: Mapping[str, Record]
    """The field `ran` of each record that has one, by its key."""

    @property
    def runs(self) -> int:
        """Return the number of runs."""
        return len(self.ran)

    def mean(self, name: str) -> float | None:
        """Return the mean of a measured quantity over the runs, or None if it was not measured."""
        found = self._of(name)
        return fmean(found) if found else None

    def total(self, name: str) -> float | None:
        """Return its sum."""
        found = self._of(name)
        return sum(found) if found else None

    def peak(self, name: str) -> float | None:
        """Return its maximum."""
        return max(self._of(name), default=None)

    def _of(self, name: str) -> list[float]:
        return [float(ran[name]) for ran in self.ran.values() if ran.get(name) is not None]


@dataclass(frozen=True)
class Forecast:
    """What was predicted of some runs before they began, and what they took."""

    predicted: Sequence[Predicted]
    ran: Cost
    """The same runs."""

    def total(self, name: str) -> float:
        """Return the sum of what was predicted."""
        return sum(each.seconds if name == SECONDS[0] else each.processor_seconds for each in self.predicted)


CostsByPlace = Mapping[tuple[str, str, str], Cost]
"""By stage, method (or DISCOVERY) and task; of a pretraining, without a task, each initialisation is counted once."""


def costs_of(table: Table, workspace: Workspace | None) -> CostsByPlace:
    """Return the cost of all runs of a table; arguments as `cost_document`."""
    recipes: dict[tuple[str, int], Mapping[str, Any]] = {}  # a method and a pretraining seed have one in a suite
    found: dict[tuple[str, str, str], dict[str, Record | None]] = {}
    for cell, record in table.done:
        recipe = record.get("recipe", {}).get("initialisation")
        if recipe:
            recipes.setdefault((cell.method, cell.pretraining_seed), recipe)
    for (method, _), recipe in recipes.items():
        encoder = (recipe.get("patterns") or {}).get("autoencoder")
        for label, each in ((method, recipe), (DISCOVERY, encoder)):
            if each:
                key = key_of(each)
                found.setdefault(("pretraining", label, ""), {})[key] = _ran(workspace, key)
    for cell, record in table.done:
        found.setdefault(("fine-tuning", cell.method, cell.task), {})[record["key"]] = record.get("ran")
    return {place: Cost({key: ran for key, ran in runs.items() if ran}) for place, runs in found.items()}


def total_of(costs: CostsByPlace, stage: str, method: str = "") -> Cost:
    """Return the cost of all runs of a stage, or of those of one method; a run that several share counts once."""
    places = [place for place in costs if place[0] == stage and method in ("", place[1])]
    return Cost({key: ran for place in places for key, ran in costs[place].ran.items()})


def _ran(workspace: Workspace | None, key: str) -> Record | None:
    if workspace is None:
        return None
    try:
        record: Record = read_json(workspace.path("initialisations", key) / "record.json")
    except (OSError, ValueError):  # absent or damaged: only the cost depends on it
        return None
    return record.get("ran")


def forecasts_of(costs: CostsByPlace, workspace: Workspace | None) -> dict[str, Forecast]:
    """Return by stage what was predicted of its runs, of those that something was predicted of."""
    found: dict[str, Forecast] = {}
    for stage in STAGES if workspace else ():
        ran = total_of(costs, stage).ran
        machines = {key: hardware_name(each.get("hardware") or {}) for key, each in ran.items()}
        predicted = predicted_of(workspace, machines) if workspace else {}
        if predicted:
            found[stage] = Forecast([*predicted.values()], Cost({key: ran[key] for key in predicted}))
    return found


def cost_document(table: Table, workspace: Workspace | None = None) -> Document:
    """Return the cost of pretraining and of fine-tuning of each method; the CSV has it by task.

    Args:
        table: the suite's main table.
        workspace: has the records of the pretrainings; None if it is not available.
    """
    costs = costs_of(table, workspace)
    forecasts = forecasts_of(costs, workspace)
    machines = (ran.get("hardware") or {} for cost in costs.values() for ran in cost.ran.values())
    hardware = sorted({text for machine in machines if (text := hardware_name(machine))})
    notes = [f"Measured on: {'; '.join(hardware)}."] if hardware else ["No results yet."]
    if len(hardware) > 1:
        notes.append("Times measured on different hardware are not comparable.")
    sheets = (_sheet(costs, [row.method for row in table.rows], notes), *_forecast_sheet(forecasts))
    lines = [*(_csv_line(place, cost) for place, cost in costs.items())]
    lines += [_forecast_csv(stage, found) for stage, found in forecasts.items()]
    blank = not any(cost.runs for cost in costs.values())
    return Document("cost", "Cost", sheets, csv_text(CSV_COLUMNS, lines), blank=blank)


def _sheet(costs: CostsByPlace, methods: Sequence[str], notes: Sequence[str]) -> PrintedTable:
    footnotes = Footnotes()
    shared = [label for _, label, _ in costs if label == DISCOVERY]
    lines = tuple(_line(costs, method, footnotes) for method in (*methods, *shared))
    names = ("runs", "wall s", "processor s", "peak MiB")
    heads = (*headings("method"), *headings(*names, group="pretraining"), *headings(*names, group="fine-tuning"))
    return PrintedTable("Cost", heads, lines, tuple(notes), footnotes.lines(), LEGEND)


def _forecast_sheet(forecasts: Mapping[str, Forecast]) -> list[PrintedTable]:
    """Return the table of what was predicted and what it took; [] where nothing was predicted."""
    rows = tuple(_forecast_row(stage, found) for stage, found in forecasts.items())
    times = (headings("predicted", "taken", "deviation", group=group) for group in ("wall s", "processor s"))
    heads = (*headings("stage", "runs"), *(each for group in times for each in group))
    return [PrintedTable("Predicted and taken", heads, rows, (), (), FORECAST_LEGEND)] if rows else []


def _forecast_row(stage: str, found: Forecast) -> PrintedRow:
    texts = [stage, str(found.ran.runs)]
    for name in SECONDS:
        predicted, taken = found.total(name), found.ran.total(name)
        deviation = signed(100 * (taken / predicted - 1), 0, plus=True) + " %" if taken and predicted else DASH
        texts += [_seconds(predicted), _seconds(taken), deviation]
    return printed_row(*texts)


def _line(costs: CostsByPlace, method: str, footnotes: Footnotes) -> PrintedRow:
    pretraining = costs.get(("pretraining", method, ""))
    why = footnotes.mark(NO_RECORD) if pretraining and not pretraining.runs else ""
    fine_tuning = _entries(method, total_of(costs, "fine-tuning", method), "")
    return printed_row(method, *_entries(method, pretraining, why), *fine_tuning)


def _entries(method: str, cost: Cost | None, why: str) -> list[PrintedCell | str]:
    if cost is None or not cost.runs:
        return [DASH + why] * 4
    peak = cost.peak("peak_memory_mib")
    seconds = (_seconds(cost.mean(name)) for name in SECONDS)
    runs = PrintedCell(str(cost.runs), place=method, keys=tuple(cost.ran))
    return [runs, *seconds, DASH if peak is None else f"{peak:,.0f}"]


def _seconds(value: float | None) -> str:
    """Return seconds, with one decimal below 100 and commas between thousands."""
    if value is None:
        return DASH
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _forecast_csv(stage: str, found: Forecast) -> dict[str, object]:
    means = {name: found.total(name) / len(found.predicted) for name in SECONDS}
    sums = {f"{name}_all": found.total(name) for name in SECONDS}
    return {"stage": f"{stage}, predicted", "runs": len(found.predicted), **means, **sums}


def _csv_line(place: tuple[str, str, str], cost: Cost) -> dict[str, object]:
    means, peaks = {name: cost.mean(name) for name in SECONDS}, {name: cost.peak(name) for name in PEAKS}
    sums = {f"{name}_all": cost.total(name) for name in SECONDS}
    return {**dict(zip(("stage", "method", "task"), place, strict=True)), "runs": cost.runs, **means, **sums, **peaks}
