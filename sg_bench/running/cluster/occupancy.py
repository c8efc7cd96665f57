"""What is taken of a cluster's processors and GPUs. Pure: Ray itself places what is admitted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Demand:
    """Processors and GPUs, or a fraction of one, that something needs."""

    cpus: float = 0.0
    gpus: float = 0.0

    @property
    def resources(self) -> dict[str, float]:
        """Return them by Ray's names; at least a processor where nothing is needed."""
        named = {"CPU": self.cpus, "GPU": self.gpus}
        return {name: amount for name, amount in named.items() if amount} or {"CPU": 1.0}


@dataclass
class Occupancy:
    """What a cluster has, and what is taken of it."""

    cpus: float
    gpus: float = 0.0
    taken: dict[str, Demand] = field(default_factory=dict)
    """By the name of what takes it."""

    def fits(self, demand: Demand, queued: Iterable[Demand] = ()) -> bool:
        """Return whether one more fits, after those that are queued; True where nothing is taken."""
        others = [*self.taken.values(), *queued]
        if not others:
            return True
        cpus, gpus = sum(each.cpus for each in others), sum(each.gpus for each in others)
        enough = cpus + demand.cpus <= self.cpus + 1e-6 or not demand.cpus
        return enough and (gpus + demand.gpus <= self.gpus + 1e-6 or not demand.gpus)

    def take(self, name: str, demand: Demand) -> None:
        """Note that something starts."""
        self.taken[name] = demand

    def release(self, name: str) -> None:
        """Note that something has ended."""
        self.taken.pop(name, None)
