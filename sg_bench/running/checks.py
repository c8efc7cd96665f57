"""Checks of a finished suite: that the code works, not that a method is good."""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from sg_bench.config import differences
from sg_bench.digests import OF_FILE
from sg_bench.errors import DamagedError
from sg_bench.ledger import Ledger
from sg_bench.planning import Job, Plan, is_built
from sg_bench.suite import CheckName
from sg_bench.workspace import Namespace, Workspace, read_json

INPUTS: tuple[Namespace, ...] = ("stores", "lists", "initialisations")
"""Folders of the workspace that a cell is computed from."""
CHANCE = 0.01
"""Largest p of the binomial test at which pseudo-labels are classified better than by chance."""


@dataclass(frozen=True)
class SuiteCheck:
    """The result of one check."""

    name: str
    holds: bool
    detail: str

    def __str__(self) -> str:
        return f"check {self.name}: {'holds' if self.holds else 'DOES NOT HOLD'} ({self.detail})"


def check(name: CheckName, plan: Plan, workspace: Workspace) -> SuiteCheck:
    """Return whether one check holds for a plan whose cells are all done."""
    checks = {
        "losses_fall": _losses_fall,
        "pretraining_improves": _pretraining_improves,
        "pseudo_labels_above_chance": _pseudo_labels,
        "deterministic": _deterministic,
        "tasks_learnt": _tasks_learnt,
    }
    holds, detail = checks[name](plan, workspace)
    return SuiteCheck(name, holds, detail)


def _losses_fall(plan: Plan, workspace: Workspace) -> tuple[bool, str]:
    """Every stage of every training ends with a lower training loss than it began with."""
    trainings = list(_curves(plan, workspace))
    rising = [title for title, curve in trainings if len(curve) > 1 and curve[-1] >= curve[0]]
    return not rising, "; ".join(rising) or f"{len(trainings)} curves"


def _pretraining_improves(plan: Plan, workspace: Workspace) -> tuple[bool, str]:
    """Every pretraining improves what its method promises: a loss falls, a measure rises, or a probe improves."""
    from sg_bench.running.promises import improvements

    found = list(improvements(plan, workspace))
    failing = [detail for improved, detail in found if not improved]
    return not failing, "; ".join(failing or [detail for _, detail in found]) or "does not apply: nothing to pretrain"


def _tasks_learnt(plan: Plan, workspace: Workspace) -> tuple[bool, str]:
    """On each task a method is better, in the mean of its runs, than the best constant prediction."""
    from sg_bench.evaluation.constants import constant_scores
    from sg_bench.evaluation.metrics import higher_is_better, is_better, text_of

    ledger = Ledger(workspace)
    every = {job.key: ledger.get(job.key) or {} for job in plan.of_kind("cell")}
    records = {key: record for key, record in every.items() if record.get("status") == "done"}
    constants = constant_scores(records.values(), workspace)
    details, learnt = [], True
    for task in dict.fromkeys(cell.task for cell in plan.cells if cell.key in constants):
        cells = [cell for cell in plan.cells if cell.task == task and cell.key in constants]
        metric = records[cells[0].key]["headline"]
        scores = defaultdict[str, list[float]](list)
        for cell in cells:
            score = records[cell.key]["metrics"][metric]
            scores[cell.method] += [] if score is None else [score]
        means = {method: fmean(found) for method, found in scores.items() if found}
        constant = fmean(constants[cell.key] for cell in cells)
        better = [method for method, mean in means.items() if is_better(mean, constant, metric)]
        best = (max if higher_is_better(metric) else min)(means.values(), default=None)
        worse = ", ".join(method for method in scores if method not in better)
        details.append(
            f"{task}: {text_of(best, metric)} at best, a constant prediction {text_of(constant, metric)}"
            + (f"; not learnt by {worse}" if worse else "")
        )
        learnt = learnt and bool(better)
    return learnt, "; ".join(details) or "does not apply: no predictions"


def _curves(plan: Plan, workspace: Workspace) -> Iterator[tuple[str, list[float]]]:
    """Yield the training losses, epoch by epoch, of every stage."""
    ledger = Ledger(workspace)
    jobs: list[Job] = [*plan.of_kind("initialisation"), *plan.of_kind("cell")]
    for job in jobs:
        if job.kind == "initialisation":
            rows = _record(job, workspace).get("curves", [])
        else:
            rows = ledger.curves(job.key) if ledger.done(job.key) else []
        for stage in dict.fromkeys(row["stage"] for row in rows):
            losses = [float(row["train"]["loss"]) for row in rows if row["stage"] == stage]
            yield f"{job.title} ({stage}: {losses[0]:.4f} to {losses[-1]:.4f})", losses


def _pseudo_labels(plan: Plan, workspace: Workspace) -> tuple[bool, str]:
    """On validation patients, the last accuracy is above chance (one-sided binomial test)."""
    from scipy.stats import binomtest

    details, worst = [], 0.0
    for job in plan.of_kind("initialisation"):
        record = _record(job, workspace)
        if not job.recipe.patterns or not record:
            continue
        classes = job.recipe.classes
        index = workspace.path("patterns", job.recipe.patterns.key) / "index.json"
        cubes = sum(window["validation"] for window in read_json(index)["windows"]) if index.exists() else 0
        if not cubes:
            continue
        accuracy = record["curves"][-1]["validation"].get("accuracy")
        if accuracy is None:  # the method uses the cubes, not their pseudo-labels
            continue
        p = binomtest(round(accuracy * cubes), cubes, 1 / classes, alternative="greater").pvalue
        worst = max(worst, float(p))
        details.append(f"{job.title}: {accuracy:.2f} of {cubes} cubes, chance {1 / classes:.2f}, p = {p:.1g}")
    return worst < CHANCE, "; ".join(details) or "does not apply: no pseudo-labels to validate on"


def _deterministic(plan: Plan, workspace: Workspace) -> tuple[bool, str]:
    """The quickest cell, computed once more in a new process, is the same to the last bit."""
    from sg_bench.running.driver import run
    from sg_bench.running.schedule import ATTEMPTS

    ledger = Ledger(workspace)
    records = {job.key: ledger.get(job.key) or {} for job in plan.of_kind("cell")}
    key = min(records, key=lambda k: records[k]["ran"]["processor_seconds"])
    job = plan.jobs[key]
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory() as folder:
            second = _computed_again(job, workspace, Path(folder))
            found, absent = list(_differences(ledger, second, key)), second.get(key) is None
        fetched_again = workspace.remote is not None  # what is damaged only here
        if not absent or (not fetched_again and all(is_built(workspace, plan.jobs[need]) for need in job.needs)):
            break
        # an input was damaged, and nothing that was computed now needed it
        run(plan, workspace, backend="local", also=job.needs, log=partial(print, file=sys.stderr))
    return not found, "; ".join([f"{job.title}, computed twice", *found])


def _computed_again(job: Job, workspace: Workspace, folder: Path) -> Ledger:
    """Return the ledger of a workspace in which a cell is computed, with the inputs of this one."""
    from sg_bench.running.local import work
    from sg_bench.running.stages.copies import bring_inputs

    with suppress(DamagedError):  # then the cell finds nothing to be computed from
        bring_inputs(job.recipe, workspace)
    for namespace in INPUTS:
        workspace.path(namespace).mkdir(parents=True, exist_ok=True)
        (folder / namespace).symlink_to(workspace.path(namespace))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(work, job, folder).result()
    return Ledger(Workspace(folder))


def _differences(first: Ledger, second: Ledger, key: str) -> Iterator[str]:
    """Yield "metrics.auc: 0.5 -> 0.6" and the like for each part of a cell that differs between two ledgers."""
    one, other = first.get(key) or {}, second.get(key) or {}
    if other.get("status") != "done":
        yield f"the second time it failed: {(other.get('error') or {}).get('message', 'no record')}"
        return
    for part in ("metrics", "outputs"):
        for name in sorted({*one[part], *other[part]}):
            old, new = one[part].get(name), other[part].get(name)
            if old != new and not _of_file(old):
                yield f"{part}.{name}: {old} -> {new}"
    tables = [(part, first.tables(key), second.tables(key)) for part in ("cases", "curves")]
    for part, old_table, new_table in tables:
        if one.get("tables", {}).get(part) != other.get("tables", {}).get(part):
            rows = [each.case_rows(key) if part == "cases" else each.curves(key) for each in (old_table, new_table)]
            yield _first_difference(part, *rows)


def _of_file(digest: Any) -> bool:
    """Return whether an output's digest was taken of a file by an older sg-bench, so that it cannot be compared."""
    return isinstance(digest, str) and digest.startswith(OF_FILE)


def _first_difference(part: str, one: list[dict[str, Any]], other: list[dict[str, Any]]) -> str:
    if len(one) != len(other):
        return f"{part}: {len(one)} rows -> {len(other)} rows"
    count = sum(a != b for a, b in zip(one, other, strict=True))
    number, pair = next((n, (a, b)) for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    return f"{part}: {count} of {len(one)} rows, first row {number}: {'; '.join(islice(differences(*pair), 3))}"


def _record(job: Job, workspace: Workspace) -> dict[str, Any]:
    """Return an initialisation's record; empty if it is gone, as nothing that was computed now needed it."""
    path = workspace.path("initialisations", job.key) / "record.json"
    record: dict[str, Any] = read_json(path) if path.exists() else {}
    return record
