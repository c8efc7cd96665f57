"""Reading of all cases that a plan uses, to find what names and headers do not show (`sg-bench plan --deep`)."""

from __future__ import annotations

from collections.abc import Callable

from sg_bench.data.contents import Findings
from sg_bench.planning import Plan, open_source
from sg_bench.running.stores import read_cases


def read_plan(plan: Plan, *, jobs: int | None, log: Callable[[str], None]) -> Findings:
    """Read every case of every folder of a plan; return errors and warnings."""
    found = Findings()
    for job in plan.of_kind("store"):
        if job.root is None:
            continue
        name = job.title.removeprefix("prepare ")
        source = open_source(job.recipe.source, job.recipe.config, job.root, name)
        read = read_cases(source, source.cases, jobs=jobs, log=log)
        found.errors += [f"{name}: left out: {problem}".replace(f"{job.root}/", "") for problem in read.problems]
        found.warnings += [f"{name}: {note}" for note in read.notes]
        labelled = sum(case.label is not None for case in source.cases)
        tasks = {cell.recipe.task.label: cell.recipe.task for cell in plan.of_kind("cell") if job.key in cell.needs}
        for label, task in tasks.items():
            if task.masks:
                found.check_labels(label, task.masks, read.counts, labelled)
                found.check_empty(label, task.masks, read.counts, source.cases, task.split, plan.lists)
    return found
