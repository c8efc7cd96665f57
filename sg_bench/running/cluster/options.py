"""How a run uses a Ray cluster; imports no Ray, so that the command line can read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster of a run."""

    address: str = "local"
    """"local" starts one on this machine, "auto" or HOST:PORT joins one."""
    wait: float | None = None
    """Seconds to wait for nodes when joining; None waits only where an autoscaler can add some."""
    ship_code: bool = False
    """Whether this machine's sg-bench and plugins are sent to the nodes, instead of those that they have."""


ON_THIS_MACHINE = ClusterOptions()
