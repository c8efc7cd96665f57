"""Which cells fit into a budget of hours, and in which order to compute them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sg_bench.planning.plans import Plan, PlannedCell
from sg_bench.planning.price import Price


@dataclass(frozen=True)
class Portion:
    """The cells of all methods on one task with one pair of seeds: a column of the table with one run a method."""

    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    cells: tuple[PlannedCell, ...]
    seconds: float
    """More wall time than what was chosen before."""
    fits: bool


def portions(plan: Plan, found: Price, hours: float) -> list[Portion]:
    """Return the portions of a plan's cells in the order in which to compute them, and which fit into `hours`.

    One pair of seeds after the other, so that the table is complete as early as possible; of one pair the task that
    adds least. What a portion needs counts once, for the first that needs it. One that does not fit is passed over.
    """
    left = _grouped(plan, found)
    chosen, spent, out = set[str](), 0.0, list[Portion]()
    for seeds in dict.fromkeys((p, f) for _, p, f in left):
        tasks = {name: cells for name, cells in left.items() if name[1:] == seeds}
        while tasks:
            walls = {name: found.only(chosen | _needed(plan, cells)).seconds for name, cells in tasks.items()}
            name = min(walls, key=lambda each: walls[each])
            cells, fits = tasks.pop(name), walls[name] <= hours * 3600
            out.append(Portion(*name, tuple(cells), max(0.0, walls[name] - spent), fits))
            if fits:
                chosen |= _needed(plan, cells)
                spent = walls[name]
    return out


def _grouped(plan: Plan, found: Price) -> dict[tuple[str, int, int], list[PlannedCell]]:
    """Return the cells that have a price, by task and seeds; the first pair of seeds first."""
    known = {each.job.key for each in found.jobs}
    groups: dict[tuple[str, int, int], list[PlannedCell]] = {}
    for cell in plan.cells:
        if cell.key in known:
            groups.setdefault((cell.task, cell.pretraining_seed, cell.fine_tuning_seed), []).append(cell)
    return dict(sorted(groups.items(), key=lambda item: item[0][1:]))


def _needed(plan: Plan, cells: Iterable[PlannedCell]) -> set[str]:
    """Return the keys of cells and of all that they need."""
    found, waiting = set[str](), [cell.key for cell in cells]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += plan.jobs[key].needs
    return found
