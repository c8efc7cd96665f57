"""How jobs share GPUs: as many on a card as their measured peak memory allows, never more than there are cores.

Pure functions of memory in MiB, and the list of cards, which `nvidia-smi` gives without taking memory on any of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

CONTEXT_MIB = 500.0
"""Memory that CUDA itself takes in each process. An estimate: it differs by card and driver, and was not measured."""
MARGIN = 1.2
"""Memory reserved for a job, as a multiple of its measured peak: the first steps may need less than later ones."""
QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits")
QUERY_SECONDS = 20.0


@dataclass(frozen=True)
class Card:
    """A GPU of this machine."""

    id: str
    """Its UUID, or whatever else CUDA_VISIBLE_DEVICES can name it by."""
    name: str
    total_mib: float
    """0 if unknown."""
    free_mib: float
    """Memory that no process had taken when the card was listed; 0 if unknown: then it runs one job at a time."""


@dataclass(frozen=True)
class CardLoad:
    """What may be used of a card, and what runs there."""

    free_mib: float
    """Memory that was free before any job of ours."""
    peaks_mib: tuple[float | None, ...] = ()
    """Measured peaks of the running jobs; None: not measured yet."""
    processes: int = 0
    """Processes that are alive on the card; an idle one keeps its CUDA context."""

    @property
    def left_mib(self) -> float:
        """Return the memory that is not reserved, once one more job runs; 0 while an unmeasured job has the card."""
        if None in self.peaks_mib:
            return 0.0
        reserved = sum(MARGIN * peak for peak in self.peaks_mib if peak is not None)
        return self.free_mib - reserved - CONTEXT_MIB * max(self.processes, len(self.peaks_mib) + 1)


def jobs_on_card(peak_mib: float | None, free_mib: float, cores: int) -> int:
    """Return how many jobs of one measured peak share a card: at least one, which then answers a lack of memory itself.

    Args:
        peak_mib: most memory that PyTorch held for one job; None: not measured, so it has the card to itself.
        free_mib: memory of the card that may be used.
        cores: processor cores for the jobs of this card.
    """
    if peak_mib is None:
        return 1
    return max(1, min(cores, int(free_mib // (MARGIN * peak_mib + CONTEXT_MIB))))


def card_share(peak_mib: float | None, free_mib: float, cores: int) -> float:
    """Return the fraction of a card to ask Ray for: 1 / n, rounded down so that n of them fit on it."""
    count = jobs_on_card(peak_mib, free_mib, cores)
    return int(10_000 / count) / 10_000  # Ray counts in steps of 0.0001


def measuring_first(jobs: Sequence[Item], kind: Callable[[Item], str | None]) -> tuple[list[Item], list[Item]]:
    """Divide jobs into those that measure their memory, one of each kind that was not measured, and all others.

    Args:
        jobs: in the order in which they shall run.
        kind: returns a name for a job's kind, or None if its memory is known.
    """
    seen: set[str | None] = {None}
    first: list[Item] = []
    rest: list[Item] = []
    for job in jobs:
        own = kind(job)
        (rest if own in seen else first).append(job)
        seen.add(own)
    return first, rest


def choose_card(peak_mib: float | None, cards: Sequence[CardLoad]) -> int | None:
    """Return the card for one more job, or None if it must wait: of those where it fits, the one with most memory left.

    A job that was not measured, or that needs more than any card has, gets an empty card to itself.
    """
    empty = [number for number, card in enumerate(cards) if not card.peaks_mib]
    fitting = [] if peak_mib is None else [n for n, card in enumerate(cards) if MARGIN * peak_mib <= card.left_mib]
    candidates = fitting or empty
    return max(candidates, key=lambda number: (cards[number].left_mib, -number), default=None)


def read_cards(listed: str, visible: str | None = None) -> list[Card]:
    """Return the cards in the output of `QUERY`.

    Args:
        listed: one line for each card: index, UUID, name, total and free MiB.
        visible: the value of CUDA_VISIBLE_DEVICES: indices or the beginnings of UUIDs, up to the first unknown one.
    """
    rows = [[part.strip() for part in line.split(",")] for line in listed.splitlines() if line.count(",") == 4]
    cards = {index: Card(uuid, name, _mib(total), _mib(free)) for index, uuid, name, total, free in rows}
    if visible is None:
        return list(cards.values())
    chosen: list[Card] = []
    for wanted in visible.split(","):
        found = [card for index, card in cards.items() if wanted and (index == wanted or card.id.startswith(wanted))]
        if len(found) != 1:
            break
        chosen += found
    return chosen


def list_cards() -> list[Card]:
    """Return the GPUs that the installed PyTorch can use, with their memory where `nvidia-smi` lists them."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS)  # noqa: S603
        cards = read_cards(done.stdout, visible)
    except (OSError, subprocess.SubprocessError):
        cards = []
    if len(cards) == count:
        return cards
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return [Card(name, "unknown", 0.0, 0.0) for name in names[:count]]


def _mib(text: str) -> float:
    """Return a number of MiB; 0 where the driver does not say, as for a card that is not supported."""
    try:
        return float(text)
    except ValueError:
        return 0.0
