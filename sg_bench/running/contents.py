"""Reading of all cases that a plan uses, to find what names and headers do not show (`sg-bench plan --deep`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sg_bench.data.contents import LabelCounts, empty_masks, label_problems
from sg_bench.data.sources.base import Case
from sg_bench.data.splits import assign
from sg_bench.errors import DataError
from sg_bench.planning import Plan, open_source
from sg_bench.recipes import CellRecipe
from sg_bench.running.stores import read_cases
from sg_bench.tasks import Task


@dataclass
class Findings:
    """What reading shows, one line each."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def check_labels(self, task: Task, counts: dict[str, LabelCounts], labelled: int) -> None:
        """Add what is wrong with the values of label maps, as the card of `task` names them."""
        values = {value for each in counts.values() for value in each}
        try:
            self.warnings += label_problems(task.masks, values, len(counts), labelled)
        except DataError as error:
            self.errors.append(str(error))


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
        recipes = [cell.recipe for cell in plan.of_kind("cell")]
        for recipe in {each.task.label: each for each in recipes if each.store.key == job.key}.values():
            _check_task(recipe, source.cases, read.counts, plan, found)
    return found


def _check_task(
    recipe: CellRecipe, cases: list[Case], counts: dict[str, LabelCounts], plan: Plan, found: Findings
) -> None:
    here, task = Findings(), recipe.task
    if not task.masks:
        return
    here.check_labels(task, counts, sum(case.label is not None for case in cases))
    parts = assign(cases, task.split, fold=recipe.fine_tuning_seed, lists=plan.lists)
    here.warnings += empty_masks(task.masks, counts, parts)
    found.errors += [f"task '{task.label}': {line}" for line in here.errors]
    found.warnings += [f"task '{task.label}': {line}" for line in here.warnings]
