"""How long jobs take on so many processes: the schedule of `running.schedule`, played with known durations."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

PRIORITY = {"store": 0, "patterns": 1, "initialisation": 2, "cell": 4}
"""Lower numbers start first."""


@dataclass(frozen=True)
class Timed:
    """A job with its duration."""

    key: str
    kind: str
    seconds: float
    needs: tuple[str, ...] = ()
    parts: int = 1
    """In so many equal parts several processes can share it, as they share the cases of a store."""
    on_card: bool = False
    """Whether it needs a GPU."""
    workers: int = 1


@dataclass
class _Left:
    """What a job still waits for."""

    needs: set[str]
    parts: int
    job: Timed = field(repr=False)


def wall_seconds(jobs: Iterable[Timed], slots: int, cards: int | None = None) -> float:
    """Return when the last job ends, if each starts as soon as what it needs is done and a process is free.

    Args:
        jobs: those that they need and that are not among them are done.
        slots: processes at once.
        cards: GPUs; a job on a GPU has one, or one for each of its workers, to itself. None: there is none, and none
            is needed.
    """
    waiting = {job.key: _Left(set(), job.parts, job) for job in jobs}
    for left in waiting.values():
        left.needs = {key for key in left.job.needs if key in waiting}
    needed_by: dict[str, list[_Left]] = {}
    for left in waiting.values():
        for key in left.needs:
            needed_by.setdefault(key, []).append(left)
    ready: list[tuple[int, float, str, int]] = []
    for left in waiting.values():
        if not left.needs:
            _add(ready, left.job)
    running: list[tuple[float, str]] = []
    now, free, free_cards = 0.0, slots, cards if cards is not None else slots
    while ready or running:
        held = []
        while ready and free > 0:
            entry = heapq.heappop(ready)
            job = waiting[entry[2]].job
            wanted = min(job.workers, slots)
            of_cards = min(job.workers, cards) if cards and job.on_card else 0
            if wanted > free or of_cards > free_cards:
                held.append(entry)
                continue
            free, free_cards = free - wanted, free_cards - of_cards
            heapq.heappush(running, (now + job.seconds / job.parts, job.key))
        for entry in held:
            heapq.heappush(ready, entry)
        now, key = heapq.heappop(running)
        left = waiting[key]
        free += min(left.job.workers, slots)
        free_cards += min(left.job.workers, cards) if cards and left.job.on_card else 0
        left.parts -= 1
        if left.parts == 0:
            for other in needed_by.get(key, []):
                other.needs.discard(key)
                if not other.needs:
                    _add(ready, other.job)
    return now


def _add(ready: list[tuple[int, float, str, int]], job: Timed) -> None:
    """Let the parts of a job start; of jobs of one kind the long ones go first."""
    for part in range(job.parts):
        heapq.heappush(ready, (PRIORITY[job.kind], -job.seconds, job.key, part))
