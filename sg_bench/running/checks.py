"""What a suite asks to hold when all its cells are done: that the machinery works, not that a method is good."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sg_bench.ledger import Ledger
from sg_bench.planning import Job, Plan
from sg_bench.running.local import work
from sg_bench.suite import Check
from sg_bench.workspace import Namespace, Workspace, read_json

CHANCE = 0.01
"""Greatest p of the binomial test that pseudo-labels are told apart no better than by chance."""


@dataclass(frozen=True)
class Verdict:
    """One check's outcome."""

    name: str
    holds: bool
    detail: str

    def __str__(self) -> str:
        return f"check {self.name}: {'holds' if self.holds else 'DOES NOT HOLD'} ({self.detail})"


def check(name: Check, plan: Plan, workspace: Workspace) -> Verdict:
    """Return whether one check holds for a plan whose cells are all done."""
    checks = {
        "losses_fall": _losses_fall,
        "pseudo_labels_above_chance": _pseudo_labels,
        "deterministic": _deterministic,
    }
    holds, detail = checks[name](plan, workspace)
    return Verdict(name, holds, detail)


def _losses_fall(plan: Plan, workspace: Workspace) -> tuple[bool, str]:
    """Every stage of every training ends with a lower training loss than it began with."""
    trainings = list(_curves(plan, workspace))
    rising = [title for title, curve in trainings if len(curve) > 1 and curve[-1] >= curve[0]]
    return not rising, "; ".join(rising) or f"{len(trainings)} curves"


def _curves(plan: Plan, workspace: Workspace) -> Iterator[tuple[str, list[float]]]:
    """Yield the training losses, epoch by epoch, of every stage."""
    ledger = Ledger(workspace)
    jobs: list[Job] = [*plan.of_kind("initialisation"), *plan.of_kind("cell")]
    for job in jobs:
        record = _record(job, workspace) if job.kind == "initialisation" else ledger.get(job.key) or {}
        rows = record.get("curves", [])
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
    """The quickest cell, computed once more in a fresh process, comes out the same to the last bit."""
    ledger = Ledger(workspace)
    records = {job.key: ledger.get(job.key) or {} for job in plan.of_kind("cell")}
    key = min(records, key=lambda k: records[k]["ran"]["processor_seconds"])
    job = plan.jobs[key]
    with tempfile.TemporaryDirectory() as folder:
        again = _computed_again(job, workspace, Path(folder))
    same = all(again.get(name) == records[key][name] for name in ("metrics", "cases", "outputs", "curves"))
    return same, f"{job.title}, computed twice"


def _computed_again(job: Job, workspace: Workspace, folder: Path) -> dict[str, Any]:
    """Return the record of a cell computed in a workspace that borrows only stores and initialisations."""
    borrowed: tuple[Namespace, ...] = ("stores", "initialisations")
    for namespace in borrowed:
        (folder / namespace).symlink_to(workspace.path(namespace))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(work, job, folder).result()
    return Ledger(Workspace(folder)).get(job.key) or {}


def _record(job: Job, workspace: Workspace) -> dict[str, Any]:
    """Return an initialisation's record; empty if it is gone, as nothing that was computed now needed it."""
    path = workspace.path("initialisations", job.key) / "record.json"
    record: dict[str, Any] = read_json(path) if path.exists() else {}
    return record
