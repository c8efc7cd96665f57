"""Runs the stage of a job's recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import cast

from sg_bench.config import key_of
from sg_bench.data.sources.base import Case
from sg_bench.errors import DamagedError
from sg_bench.ledger import Ledger
from sg_bench.planning import Job, TypedJob
from sg_bench.recipes import CellRecipe, DiscoveryRecipe, PretrainingRecipe, StoreRecipe
from sg_bench.running.environment import configure_torch
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.job_logs import logged
from sg_bench.running.markers import require_workspace
from sg_bench.running.memory import peak_noted
from sg_bench.running.stages.copies import bring_inputs, copied, is_stored
from sg_bench.running.stages.discover import Share, discover, discover_share
from sg_bench.running.stages.fine_tune import fine_tune
from sg_bench.running.stages.inputs import set_aside
from sg_bench.running.stages.locking import locked
from sg_bench.running.stages.prepare import build_store, prepare_cases
from sg_bench.running.stages.pretrain import pretrain
from sg_bench.training.loop import ProgressCallback
from sg_bench.training.ranks import World
from sg_bench.workspace import Workspace


def execute(
    job: Job, workspace: Workspace, progress: ProgressCallback, world: World | None = None, *, wait: bool = True
) -> None:
    """Compute `job` into the workspace; return at once if its result is there.

    Args:
        job: what it needs is in the workspace.
        workspace: of the results.
        progress: is given the steps that are done, and of all.
        world: the ranks that compute it together; None: this process alone.
        wait: while another process computes the same job.

    Raises:
        DamagedError: something that the job is computed from is damaged, and was set aside.
        LockedElsewhere: another process computes the job, and `wait` is False.
        OSError: this node of a cluster does not see the workspace.
    """
    require_workspace()
    configure_torch()
    world = world or World()
    with locked(workspace, job.key, world, wait=wait):
        try:
            with copied(job, workspace, world) as done:
                if not done:
                    with logged(job, workspace), peak_noted(job.recipe, workspace, progress) as noted:
                        _run_stage(job, workspace, noted, world)
        except DamagedError as error:
            raise set_aside(error, workspace, wait=world.size == 1) from error  # other ranks wait for this one


def _run_stage(job: Job, workspace: Workspace, progress: ProgressCallback, world: World) -> None:
    match job.recipe:
        case StoreRecipe():
            build_store(cast(TypedJob[StoreRecipe], job), workspace, progress)
        case PretrainingRecipe() as recipe:
            pretrain(recipe, workspace, progress, world)
        case DiscoveryRecipe() as recipe:
            discover(recipe, workspace, progress)
        case CellRecipe() as recipe:
            fine_tune(recipe, workspace, progress)


def attempt(
    job: Job,
    workspace: Workspace,
    progress: ProgressCallback,
    cases: Sequence[Case] = (),
    share: Share | None = None,
) -> Failure | None:
    """Execute `job`, or only some of its cases or a share of them; return what went wrong, recorded if it is a cell.

    A cell whose input is damaged has not failed: it is computed once the input is. Nor has one that another process
    computes, or that may succeed when it is started again.
    """
    try:
        if share or cases:
            require_workspace()
            if is_stored(job, workspace):
                return None
            with _part_lock(job, workspace, cases, share):
                if share:
                    bring_inputs(job.recipe, workspace)
                _run_part(job, workspace, progress, cases, share)
        else:
            execute(job, workspace, progress, wait=False)
    except Exception as error:
        failure = Failure.of(error)
        if job.kind == "cell" and not (failure.damaged or failure.busy or failure.transient):
            Ledger(workspace).put(failed_record(job, failure, [workspace.root]))
        return failure
    return None


@contextmanager
def _part_lock(job: Job, workspace: Workspace, cases: Sequence[Case], share: Share | None) -> Iterator[None]:
    """Hold a part of a job alone, and the job shared: it must not be finished in the middle of a part.

    Raises:
        LockedElsewhere: another process computes the part, or finishes the job.
    """
    part = key_of([asdict(share)] if share else [case.id for case in cases])
    with workspace.lock(f"{job.key}.{part[:16]}", wait=False), workspace.lock(job.key, shared=True, wait=False):
        yield


def _run_part(
    job: Job, workspace: Workspace, progress: ProgressCallback, cases: Sequence[Case], share: Share | None
) -> None:
    if not share:
        prepare_cases(cast(TypedJob[StoreRecipe], job), workspace, cases)
        return
    configure_torch()
    try:
        discover_share(cast(TypedJob[DiscoveryRecipe], job).recipe, workspace, share, progress)
    except DamagedError as error:
        raise set_aside(error, workspace) from error
