"""Where results are kept on other storage: copies what a job is computed from to this node, and stores its result.

On a folder, own or shared, all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

from sg_bench.data.store import skipped_cases
from sg_bench.errors import DamagedError
from sg_bench.ledger import Ledger
from sg_bench.ledger.copies import pull_record
from sg_bench.methods.published_config import PublishedConfig
from sg_bench.planning import FOLDERS, LAST, Job
from sg_bench.recipes import CellRecipe, CorpusRecipe, DiscoveryRecipe, PretrainingRecipe, Recipe, StoreRecipe
from sg_bench.training.checkpoints import NAME
from sg_bench.training.ranks import World
from sg_bench.workspace import DamagedCopyError, Remote, Workspace, pull_weights

CHECKPOINT_SECONDS = 60.0
"""A running training's checkpoint is stored at most once in so many seconds; SG_BENCH_CHECKPOINT_SECONDS overrides."""


@contextmanager
def copied(job: Job, workspace: Workspace, world: World) -> Iterator[bool]:
    """Prepare this node for a job, and store the result at the end; yield whether the result is there already.

    Args:
        job: to be computed in the block; hold its lock.
        workspace: of the results.
        world: the processes that share the job; rank 0 decides whether it is done, and stores the result.

    Raises:
        DamagedError: something that the job is computed from is damaged where it is stored, and was set aside there.
    """
    remote, recipe = workspace.remote, job.recipe
    if remote is None:
        yield False
        return
    remote.refresh()
    if world.decide(partial(_is_done, recipe, workspace, remote)):
        yield True
        return
    bring_inputs(recipe, workspace)
    with _checkpointed(recipe, workspace, remote, world.rank):
        yield False
    if world.rank == 0 and recipe.kind != "cell":
        remote.publish(FOLDERS[recipe.kind], recipe.key, LAST[recipe.kind])
    if world.rank == 0 and (path := checkpoint_path(recipe, workspace)):
        remote.objects.remove(_stored_checkpoint(recipe))
        path.unlink(missing_ok=True)


def bring_inputs(recipe: Recipe, workspace: Workspace) -> None:
    """Copy to this node what a recipe is computed from, as far as it is stored elsewhere.

    Raises:
        DamagedError: something is damaged, or gone.
    """
    remote = workspace.remote
    if remote is None:
        return
    match recipe:
        case CellRecipe():
            _bring(recipe.store, workspace, remote)
            _bring(recipe.initialisation, workspace, remote)
            if recipe.initialisation.corpus:  # its index, by which cases that pretraining has seen are found
                store = recipe.initialisation.corpus.store
                remote.fetch_file("stores", store.key, LAST["store"])
            _bring_lists(remote)
        case PretrainingRecipe():
            if recipe.patterns:
                _bring(recipe.patterns, workspace, remote)
            _bring_corpus(recipe.corpus, workspace, remote)
            if isinstance(recipe.config, PublishedConfig):
                pull_weights(workspace, recipe.config.weights)
        case DiscoveryRecipe():
            _bring_corpus(recipe.corpus, workspace, remote)
            if recipe.autoencoder:
                _bring(recipe.autoencoder, workspace, remote)
        case StoreRecipe():
            pass


def is_stored(job: Job, workspace: Workspace) -> bool:
    """Return whether a result is stored elsewhere, so that no part of it need be computed; False on a folder."""
    remote = workspace.remote
    return remote is not None and job.kind != "cell" and remote.has(FOLDERS[job.kind], job.key)


def checkpoint_path(recipe: Recipe, workspace: Workspace) -> Path | None:
    """Return the file of this node in which a training keeps its state, None for a job without a training."""
    if isinstance(recipe, CellRecipe):
        return workspace.path("progress", recipe.key) / NAME
    if isinstance(recipe, PretrainingRecipe) and recipe.corpus:
        return workspace.partial("initialisations", recipe.key) / NAME
    return None


def _is_done(recipe: Recipe, workspace: Workspace, remote: Remote) -> bool:
    """Return whether a result is stored; one that is here, as after a crash, is stored first."""
    if recipe.kind == "cell":
        pull_record(workspace, recipe.key)
        return Ledger(workspace).done(recipe.key)
    namespace, last = FOLDERS[recipe.kind], LAST[recipe.kind]
    folder = workspace.path(namespace, recipe.key)
    stored = remote.has(namespace, recipe.key)
    if isinstance(recipe, StoreRecipe) and stored:
        remote.fetch_file(namespace, recipe.key, last)
        if skipped_cases(folder):  # they are tried again
            _bring(recipe, workspace, remote)
            return False
    if not stored and (folder / last).is_file():
        remote.publish(namespace, recipe.key, last)
        return True
    return stored


def _bring(recipe: Recipe, workspace: Workspace, remote: Remote) -> None:
    assert recipe.kind != "cell"
    namespace, reason = FOLDERS[recipe.kind], "it is not stored"
    path = workspace.path(namespace, recipe.key) / LAST[recipe.kind]
    try:
        if remote.fetch(namespace, recipe.key):
            return
    except DamagedCopyError as error:
        reason = str(error)
        remote.set_aside(namespace, recipe.key)
    raise DamagedError(f"{remote.shown}/{namespace}/{recipe.key}: {reason}", path=path, hint="It is computed again")


def _bring_corpus(corpus: CorpusRecipe | None, workspace: Workspace, remote: Remote) -> None:
    if corpus:
        _bring(corpus.store, workspace, remote)
        _bring_lists(remote)


def _bring_lists(remote: Remote) -> None:
    """Copy the lists of ids that splits name; the run has stored them before its first job."""
    remote.pull_all("lists")


def _checkpointed(recipe: Recipe, workspace: Workspace, remote: Remote, rank: int) -> AbstractContextManager[None]:
    """Return a block in which a training's checkpoint is stored from time to time; bring the newest one here first."""
    path, name = checkpoint_path(recipe, workspace), _stored_checkpoint(recipe)
    if path is None or rank > 0:
        return nullcontext()
    state = remote.objects.state(name)
    if state is not None and (not path.is_file() or path.stat().st_mtime_ns < state.time):
        with suppress(FileNotFoundError):
            remote.objects.download(name, path)
    seconds = float(os.environ.get("SG_BENCH_CHECKPOINT_SECONDS") or CHECKPOINT_SECONDS)
    return remote.pushed(path, name, seconds)


def _stored_checkpoint(recipe: Recipe) -> str:
    return f"progress/{recipe.key}/{NAME}"
