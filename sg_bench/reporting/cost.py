"""Computing cost: wall and processor time and peak memory, of pretraining and of fine-tuning.

The numbers come from the field `ran` of the records. A pretraining's record is next to its weights in the workspace;
without the workspace its cost is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
SECONDS = ("wall_seconds", "processor_seconds")
PEAKS = ("peak_memory_mib", "peak_device_memory_mib")
CSV_COLUMNS = ("stage", "method", "task", "runs", *SECONDS, *(f"{name}_all" for name in SECONDS), *PEAKS)


@dataclass(frozen=True)
class Cost:
    """The cost of some runs."""

    ran: tuple[Record, ...]
    """The field `ran` of each record that has one."""
    keys: tuple[str, ...]

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
        return [float(ran[name]) for ran in self.ran if ran.get(name) is not None]


@dataclass(frozen=True)
class Forecast:
    """What was predicted of some runs before they began, and what they took."""

    predicted: tuple[Predicted, ...]
    ran: Cost
    """The same runs."""

    @property
    def seconds(self) -> float:
        """Return the predicted wall time of all runs."""
        return sum(each.seconds for each in self.predicted)

    @property
    def processor_seconds(self) -> float:
        """Return their predicted processor time."""
        return sum(each.processor_seconds for each in self.predicted)


@dataclass(frozen=True)
class Costs:
    """The cost of all runs of a table."""

    table: Table
    workspace: Workspace | None

    @cached_property
    def fine_tuning(self) -> dict[tuple[str, str], Cost]:
        """By (method, task)."""
        found: dict[tuple[str, str], list[Record]] = {}
        for cell, record in self.table.done:
            found.setdefault((cell.method, cell.task), []).append(record)
        return {place: _cost((record["key"], record.get("ran")) for record in runs) for place, runs in found.items()}

    @cached_property
    def pretraining(self) -> dict[str, Cost]:
        """By method, and under DISCOVERY of the auto-encoder; each pretraining is counted once."""
        wanted: dict[str, dict[str, None]] = {}
        for method, key, encoder in self._initialisations():
            wanted.setdefault(method, {})[key] = None
            if encoder:
                wanted.setdefault(DISCOVERY, {})[encoder] = None
        return {method: _cost((key, self._ran(key)) for key in keys) for method, keys in wanted.items()}

    @property
    def known(self) -> bool:
        """Return whether the cost of any run is known."""
        return any(cost.runs for cost in (*self.pretraining.values(), *self.fine_tuning.values()))

    @cached_property
    def forecasts(self) -> dict[str, Forecast]:
        """By stage, of the runs that something was predicted of."""
        found: dict[str, Forecast] = {}
        stages = {"pretraining": [*self.pretraining.values()], "fine-tuning": [*self.fine_tuning.values()]}
        for stage, costs in stages.items():
            ran = {key: ran for cost in costs for key, ran in zip(cost.keys, cost.ran, strict=True)}
            machines = {key: hardware_name(each.get("hardware") or {}) for key, each in ran.items()}
            predicted = predicted_of(self.workspace, machines) if self.workspace else {}
            if predicted:
                taken = tuple(ran[key] for key in predicted)
                found[stage] = Forecast(tuple(predicted.values()), Cost(taken, tuple(predicted)))
        return found

    def _initialisations(self) -> Iterator[tuple[str, str, str]]:
        """Yield each (method, key of its initialisation, key of the auto-encoder of its discovery or "")."""
        for (method, _), recipe in self._recipes().items():
            patterns = recipe.get("patterns") or {}
            encoder = patterns.get("autoencoder")
            yield method, key_of(recipe), key_of(encoder) if encoder else ""

    def _recipes(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        """Return the recipe of each initialisation; a method and a pretraining seed have one in a suite."""
        found: dict[tuple[str, int], Mapping[str, Any]] = {}
        for cell, record in self.table.done:
            recipe = record.get("recipe", {}).get("initialisation")
            if recipe:
                found.setdefault((cell.method, cell.pretraining_seed), recipe)
        return found

    def _ran(self, key: str) -> Record | None:
        if self.workspace is None:
            return None
        try:
            record: Record = read_json(self.workspace.path("initialisations", key) / "record.json")
        except (OSError, ValueError):  # absent or damaged: only the cost depends on it
            return None
        return record.get("ran")


def cost_document(table: Table, workspace: Workspace | None = None) -> Document:
    """Return the cost of pretraining and of fine-tuning of each method; the CSV has it by task.

    Args:
        table: the suite's main table.
        workspace: has the records of the pretrainings; None if it is not available.
    """
    costs = Costs(table, workspace)
    hardware = _hardware(costs)
    forecast = _forecast_sheet(costs)
    notes = [f"Measured on: {'; '.join(hardware)}."] if hardware else ["No results yet."]
    if len(hardware) > 1:
        notes.append("Times measured on different hardware are not comparable.")
    sheet = _sheet(costs, notes)
    return Document("cost", "Cost", (sheet, *forecast), _csv(costs), blank=not costs.known)


def _cost(runs: Iterable[tuple[str, Record | None]]) -> Cost:
    known = [(key, ran) for key, ran in runs if ran]
    return Cost(tuple(ran for _, ran in known), tuple(key for key, _ in known))


def _sheet(costs: Costs, notes: Sequence[str]) -> PrintedTable:
    footnotes = Footnotes()
    methods = [row.method for row in costs.table.rows]
    shared = [DISCOVERY] if DISCOVERY in costs.pretraining else []
    lines = [_line(costs, method, footnotes) for method in [*methods, *shared]]
    names = ("runs", "wall s", "processor s", "peak MiB")
    heads = (*headings("method"), *headings(*names, group="pretraining"), *headings(*names, group="fine-tuning"))
    return PrintedTable("Cost", heads, tuple(lines), tuple(notes), footnotes.lines(), LEGEND)


def _forecast_sheet(costs: Costs) -> list[PrintedTable]:
    """Return the table of what was predicted and what it took; [] where nothing was predicted."""
    rows = tuple(_forecast_row(stage, found) for stage, found in costs.forecasts.items())
    times = (headings("predicted", "taken", "deviation", group=group) for group in ("wall s", "processor s"))
    heads = (*headings("stage", "runs"), *(each for group in times for each in group))
    return [PrintedTable("Predicted and taken", heads, rows, (), (), FORECAST_LEGEND)] if rows else []


def _forecast_row(stage: str, found: Forecast) -> PrintedRow:
    texts = [stage, str(found.ran.runs)]
    for predicted, name in zip((found.seconds, found.processor_seconds), SECONDS, strict=True):
        taken = found.ran.total(name)
        deviation = signed(100 * (taken / predicted - 1), 0, plus=True) + " %" if taken and predicted else DASH
        texts += [_seconds(predicted), _seconds(taken), deviation]
    return printed_row(*texts)


def _line(costs: Costs, method: str, footnotes: Footnotes) -> PrintedRow:
    pretraining = costs.pretraining.get(method)
    parts = [cost for (label, _), cost in costs.fine_tuning.items() if label == method]
    fine_tuning = Cost(
        tuple(ran for part in parts for ran in part.ran), tuple(key for part in parts for key in part.keys)
    )
    why = footnotes.mark(NO_RECORD) if pretraining and not pretraining.runs else ""
    return printed_row(method, *_entries(method, pretraining, why), *_entries(method, fine_tuning, ""))


def _entries(method: str, cost: Cost | None, why: str) -> list[PrintedCell | str]:
    if cost is None or not cost.runs:
        return [DASH + why] * 4
    peak = cost.peak("peak_memory_mib")
    seconds = (_seconds(cost.mean(name)) for name in SECONDS)
    runs = PrintedCell(str(cost.runs), place=method, keys=cost.keys)
    return [runs, *seconds, DASH if peak is None else f"{peak:,.0f}"]


def _seconds(value: float | None) -> str:
    """Return seconds, with one decimal below 100 and commas between thousands."""
    if value is None:
        return DASH
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _hardware(costs: Costs) -> list[str]:
    found = [*costs.pretraining.values(), *costs.fine_tuning.values()]
    machines = (ran.get("hardware") or {} for cost in found for ran in cost.ran)
    return sorted({text for machine in machines if (text := hardware_name(machine))})


def _csv(costs: Costs) -> str:
    lines = [_csv_line("pretraining", method, None, cost) for method, cost in costs.pretraining.items()]
    lines += [_csv_line("fine-tuning", method, task, cost) for (method, task), cost in costs.fine_tuning.items()]
    lines += [_forecast_csv(stage, found) for stage, found in costs.forecasts.items()]
    return csv_text(CSV_COLUMNS, lines)


def _forecast_csv(stage: str, found: Forecast) -> dict[str, object]:
    count, totals = len(found.predicted), dict(zip(SECONDS, (found.seconds, found.processor_seconds), strict=True))
    means = {name: total / count for name, total in totals.items()}
    return {"stage": f"{stage}, predicted", "runs": count, **means, **{f"{name}_all": totals[name] for name in SECONDS}}


def _csv_line(stage: str, method: str, task: str | None, cost: Cost) -> dict[str, object]:
    means, totals = ({name: of(name) for name in SECONDS} for of in (cost.mean, cost.total))
    peaks = {name: cost.peak(name) for name in PEAKS}
    sums = {f"{name}_all": total for name, total in totals.items()}
    return {"stage": stage, "method": method, "task": task, "runs": cost.runs, **means, **sums, **peaks}
