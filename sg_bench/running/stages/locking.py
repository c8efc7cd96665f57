"""The lock of a result, held by rank 0 for all ranks that compute it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from sg_bench.training.ranks import World
from sg_bench.workspace import LockedElsewhere, Workspace

LOCK_POLL = 1.0
"""Seconds between two attempts of rank 0 to get a lock that another process holds."""


@contextmanager
def locked(workspace: Workspace, key: str, world: World, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of `key` on rank 0 while it is in the block.

    Of several ranks, none waits for another that waits for the lock: rank 0 asks for it again and again, and broadcasts
    the answer each time, so that no time limit of the others is reached.

    Raises:
        LockedElsewhere: another process holds it, and `wait` is False; on all ranks.
    """
    if world.size == 1:
        with workspace.lock(key, wait=wait):
            yield
        return
    with ExitStack() as held:
        while not world.decide(partial(_enter, held, workspace, key)):
            if not wait:
                raise LockedElsewhere(key)
            if world.rank == 0:
                time.sleep(LOCK_POLL)
        yield


def _enter(held: ExitStack, workspace: Workspace, key: str) -> bool:
    """Take the lock until `held` is closed; return whether it was free."""
    try:
        held.enter_context(workspace.lock(key, wait=False))
    except LockedElsewhere:
        return False
    return True
