"""The results that a job is computed from: opened with their content checked, and set aside where they are damaged."""

from __future__ import annotations

from pathlib import Path

from sg_bench.config import key_of
from sg_bench.data.store import Store
from sg_bench.digests import read_sealed
from sg_bench.errors import DamagedError
from sg_bench.ledger import initialisation_digest
from sg_bench.networks.weights import StateDict, load_initialisation
from sg_bench.planning import FOLDERS
from sg_bench.recipes import PretrainingRecipe, StoreRecipe
from sg_bench.workspace import DAMAGED, LockedElsewhere, Workspace, file_state, sync_folder


def open_store(recipe: StoreRecipe, workspace: Workspace) -> Store:
    """Return the store of a recipe; its arrays are checked when they are first read.

    Raises:
        DamagedError: there is none, its index is damaged, or it is another recipe's.
    """
    folder = workspace.path("stores", recipe.key)
    store = Store.open(folder)
    if key_of(store.recipe) != recipe.key:
        raise DamagedError(f"{folder}: it is the store of another recipe", path=folder / "index.json")
    return store


def read_initialisation(recipe: PretrainingRecipe, workspace: Workspace) -> tuple[StateDict, StateDict, str]:
    """Return the encoder's and the decoder's tensors of an initialisation, and the digest of their content.

    Raises:
        DamagedError: there is none, its record is damaged, or the weights are not those of the record.
    """
    folder = workspace.path("initialisations", recipe.key)
    path = folder / "record.json"
    try:
        record = read_sealed(path)
        digest, found = initialisation_digest(record), key_of(record["recipe"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = "it is not there" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        raise DamagedError(f"{path} is damaged: {reason}", path=path) from error
    if found != recipe.key:
        raise DamagedError(f"{path}: it is the record of another recipe", path=path)
    return *load_initialisation(folder, digest=digest), digest


def set_aside(error: DamagedError, workspace: Workspace, *, wait: bool = True) -> DamagedError:
    """Move a damaged result into the workspace's `damaged/`, so that it counts as not computed; return what to raise.

    Of a store only the damaged file is moved; the rest becomes an unfinished store, whose other cases are kept. Nothing
    is moved that another process has replaced meanwhile, or without `wait` that another process has locked.
    """
    try:
        return _set_aside(error, workspace, wait=wait)
    except LockedElsewhere:
        return error


def _set_aside(error: DamagedError, workspace: Workspace, *, wait: bool) -> DamagedError:
    folder = error.path.parent
    namespace = next((each for each in FOLDERS.values() if workspace.path(each) == folder.parent), None)
    if namespace is None:
        return error
    before = file_state(error.path)
    with workspace.lock(folder.name, wait=wait):
        if not folder.exists() or file_state(error.path) != before:
            return error
        partial = workspace.partial(namespace, folder.name)
        if namespace == "stores" and not partial.exists():
            moved = workspace.set_aside(namespace, f"{folder.name}/{error.path.name}") if before else None
            folder.rename(partial)
        else:
            moved = workspace.set_aside(namespace, folder.name)
        sync_folder(partial.parent)
    where = f"; set aside as {_shown(moved)}" if moved else ""
    return DamagedError(f"{error.problem}{where}", path=error.path, hint="It is computed again")


def _shown(moved: Path) -> str:
    """Return a path in `damaged/`, from there on."""
    parts = moved.parts
    return "/".join(parts[len(parts) - 1 - parts[::-1].index(DAMAGED) :])
