"""The price of a plan: device hours, wall time, disk and network, from measurements and from what finished jobs took.

Nothing is assumed: a job whose settings were neither measured nor computed on this hardware has no price, and is
counted as such.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sg_bench.config import key_of
from sg_bench.digests import read_sealed
from sg_bench.ledger import Ledger, Record
from sg_bench.planning.amounts import Amount, Parts, amount
from sg_bench.planning.makespan import Timed, wall_seconds
from sg_bench.planning.measurements import (
    START,
    Measurement,
    cost_name,
    hardware_name,
    read_measurements,
)
from sg_bench.planning.plans import FOLDERS, Job, Plan, is_built
from sg_bench.recipes import CellRecipe, PretrainingRecipe, Recipe, RecipeKind
from sg_bench.workspace import Workspace

Basis = Literal["measured", "finished"]
"""What a duration stands on: rates that were measured, or equal jobs that are done."""
Disk = dict[str, float]
"""Bytes by folder of the workspace."""


@dataclass(frozen=True)
class Machines:
    """Where the jobs will run."""

    hardware: str
    """As `hardware_name` gives it; the nodes of a cluster are alike."""
    slots: int
    """Processes at once, on all nodes together."""
    cores: int
    """On all nodes together."""
    cards: int | None = None
    """GPUs; None: it computes on CPUs."""
    nodes: int = 1


@dataclass(frozen=True)
class JobPrice:
    """What one job costs."""

    job: Job
    seconds: float
    """Of one device; at least, where patience may end its training."""
    most_seconds: float
    basis: Basis
    processor_share: float = 1.0
    disk: Disk = field(default_factory=dict)


@dataclass(frozen=True)
class Price:
    """What the jobs of a plan cost that are still to be computed."""

    machines: Machines
    jobs: tuple[JobPrice, ...]
    unknown: tuple[Job, ...]
    """Jobs without a price."""
    starting_seconds: float
    """Until the processes have started and imported what they need."""

    @property
    def device_seconds(self) -> float:
        """Return the sum over the jobs."""
        return sum(each.seconds for each in self.jobs)

    @property
    def processor_seconds(self) -> float:
        """Return the sum of the processor time, which other programs on the machine hardly change."""
        return sum(each.seconds * each.processor_share for each in self.jobs)

    @property
    def most_device_seconds(self) -> float:
        """Return the same if no training ends before its last epoch."""
        return sum(each.most_seconds for each in self.jobs)

    @property
    def seconds(self) -> float:
        """Return the wall time, at least where patience may end trainings."""
        return self._wall({each.job.key: each.seconds for each in self.jobs})

    @property
    def most_seconds(self) -> float:
        """Return the wall time if no training ends before its last epoch."""
        return self._wall({each.job.key: each.most_seconds for each in self.jobs})

    def of_kind(self, kind: RecipeKind) -> list[JobPrice]:
        """Return the prices of one kind of job."""
        return [each for each in self.jobs if each.job.kind == kind]

    def disk(self) -> Disk:
        """Return the bytes that the jobs write, by folder of the workspace."""
        total: Disk = {}
        for each in self.jobs:
            for name, count in each.disk.items():
                total[name] = total.get(name, 0.0) + count
        return total

    def only(self, keys: Iterable[str]) -> Price:
        """Return the price of some of the jobs."""
        kept = set(keys)
        jobs = tuple(each for each in self.jobs if each.job.key in kept)
        return replace(self, jobs=jobs, unknown=tuple(job for job in self.unknown if job.key in kept))

    def _wall(self, seconds: Mapping[str, float]) -> float:
        if not self.jobs:
            return 0.0
        slots, cores = self.machines.slots, self.machines.cores
        timed = [
            Timed(
                each.job.key,
                each.job.kind,
                # With more processes than cores for them, each takes longer.
                seconds[each.job.key] * max(1.0, each.processor_share * slots / cores),
                each.job.needs,
                parts=slots if each.job.kind in ("store", "patterns") else 1,
                on_card=self.machines.cards is not None and needs_device(each.job.recipe),
                workers=each.job.workers,
            )
            for each in self.jobs
        ]
        return self.starting_seconds + wall_seconds(timed, slots, self.machines.cards)


def needs_device(recipe: Recipe) -> bool:
    """Return whether a job computes on a GPU where there is one: trainings do."""
    return isinstance(recipe, CellRecipe) or (isinstance(recipe, PretrainingRecipe) and recipe.corpus is not None)


def price(plan: Plan, pending: Iterable[Job], workspace: Workspace, machines: Machines) -> Price:
    """Return the price of the `pending` jobs of a plan on some machines."""
    measured = read_measurements(workspace, machines.hardware)
    settings = CostNames()
    taken, parts = _taken(plan, workspace, machines.hardware, settings), Parts(plan)
    jobs, unknown, names = list[JobPrice](), list[Job](), set[str]()
    for job in pending:
        name = settings.name(job.recipe)
        found = _price(job, measured.get(name), taken.get(settings.same(job.recipe)), parts)
        if found:
            jobs.append(found)
        else:
            unknown.append(job)
        names.add(name)
    first = sum(measured[name].first_seconds for name in names if name in measured)
    start = measured.get(START)
    starting = (start.first_seconds if start else 0.0) + first
    return Price(machines, tuple(jobs), tuple(unknown), starting)


def unmeasured(plan: Plan, pending: Iterable[Job], workspace: Workspace, hardware: str) -> list[Job]:
    """Return one job of each kind of settings that nothing is known of on some hardware."""
    known, settings = read_measurements(workspace, hardware), CostNames()
    jobs = {settings.name(job.recipe): job for job in pending}
    return [job for name, job in jobs.items() if name not in known]


def _price(job: Job, measured: Measurement | None, found: float | None, parts: Parts) -> JobPrice | None:
    """Return the price of a job by what equal jobs took, `found`, or else by a measurement."""
    done = amount(job.recipe, measured, parts) if measured else None
    if found is not None:
        share = measured.processor_share if measured else 1.0
        disk = _disk(job.recipe, done, measured) if measured and done else {}
        return JobPrice(job, found, found, "finished", share, disk)
    if measured is None or done is None:
        return None
    fixed = measured.job_seconds + done.cases * measured.case_seconds + done.windows * measured.window_seconds
    least, most = (
        fixed
        + steps * measured.step_seconds
        + epochs * (done.samples * measured.sample_seconds + measured.epoch_seconds)
        for steps, epochs in ((done.steps, done.epochs), (done.most_steps, done.most_epochs))
    )
    return JobPrice(job, least, most, "measured", measured.processor_share, _disk(job.recipe, done, measured))


def _disk(recipe: Recipe, done: Amount, measured: Measurement) -> Disk:
    """Return the bytes that a job writes."""
    if recipe.kind == "cell":
        return {"predictions": done.cases * measured.case_bytes, "cells": measured.record_bytes}
    units = done.windows if recipe.kind == "patterns" else done.cases
    return {FOLDERS[recipe.kind]: measured.job_bytes + units * measured.case_bytes + measured.record_bytes}


class CostNames:
    """The names of the settings that decide the cost of a plan's jobs; cells that share their parts share the work."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, str, str], str] = {}

    def name(self, recipe: Recipe) -> str:
        """Return `cost_name(recipe)`."""
        if not isinstance(recipe, CellRecipe):
            return cost_name(recipe)
        # The cells of a plan hold the same task, which lives as long as the plan.
        parts = (id(recipe.task), recipe.store.key, recipe.initialisation.key)
        if parts not in self._names:
            self._names[parts] = cost_name(recipe)
        return self._names[parts]

    def same(self, recipe: Recipe) -> Hashable:
        """Return what jobs share whose time is the same: all but the seeds, and for a cell the weights."""
        if isinstance(recipe, CellRecipe):
            return id(recipe.task), recipe.store.key, self.name(recipe)
        if isinstance(recipe, PretrainingRecipe):
            return key_of([self.name(recipe), recipe.config, recipe.corpus, recipe.patterns])
        return None


def _taken(plan: Plan, workspace: Workspace, hardware: str, settings: CostNames) -> dict[Hashable, float]:
    """Return the mean seconds of the plan's finished cells and pretrainings on some hardware."""
    ledger, seconds = Ledger(workspace), dict[Hashable, list[float]]()
    for job in plan.jobs.values():
        if isinstance(job.recipe, CellRecipe):
            record = ledger.get(job.key)
        elif isinstance(job.recipe, PretrainingRecipe) and is_built(workspace, job):
            record = _pretraining_record(workspace, job.key)
        else:
            continue
        ran = (record or {}).get("ran") or {}
        if "wall_seconds" in ran and hardware_name(ran.get("hardware") or {}) == hardware:
            seconds.setdefault(settings.same(job.recipe), []).append(float(ran["wall_seconds"]))
    return {name: sum(found) / len(found) for name, found in seconds.items()}


def _pretraining_record(workspace: Workspace, key: str) -> Record | None:
    try:
        record: Record = read_sealed(workspace.path("initialisations", key) / "record.json")
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
