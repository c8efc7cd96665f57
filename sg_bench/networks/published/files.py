"""Files of published weights in the workspace: `weights/<name>/<sha256>.<suffix>`, written once and never changed.

Imports no torch until a file is read. Each file has a JSON record of its origin and of how its licence was accepted. A
recipe refers to a file by its hash, never by a path.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sg_bench.errors import DataError, UsageError
from sg_bench.networks.published.catalogue import CATALOGUE, PublishedWeights
from sg_bench.networks.published.own_files import find_own
from sg_bench.workspace import Workspace, file_digest, read_json, write_json

if TYPE_CHECKING:
    from sg_bench.networks.weights import StateDict

LicenceAcceptance = Literal["--yes", "typed"]
"""How a user accepted a licence: by the option, or by typing yes."""
RECORD = ".json"


@dataclass(frozen=True)
class StoredWeights:
    """A file of published weights in a workspace."""

    path: Path
    sha256: str
    record: dict[str, Any]
    """Name, publisher's file name, origin, size in bytes, the licence and how it was accepted."""


def stored(weights: PublishedWeights, workspace: Workspace) -> list[StoredWeights]:
    """Return the workspace's files of `weights`, sorted by hash.

    Raises:
        DataError: a file's record is damaged.
    """
    found = []
    for path in sorted(_folder(weights, workspace).glob("*")):
        record = path.with_name(f"{path.stem}{RECORD}")
        if re.fullmatch(r"[0-9a-f]{64}", path.stem) and path.suffix != RECORD and record.is_file():
            found.append(StoredWeights(path, path.stem, _record(record, weights)))
    return found


def _record(path: Path, weights: PublishedWeights) -> dict[str, Any]:
    """Return the record of a file, with defaults for missing fields."""
    try:
        record = read_json(path)
        return {"licence": "", "agreed": "--yes", "bytes": 0, **record}
    except (ValueError, TypeError) as error:
        hint = f"Delete it and its file of weights. {how_to_get(weights)}"
        raise DataError(f"{path} is damaged: {error}", hint=hint) from error


def find(weights: PublishedWeights, workspace: Workspace, sha256: str = "") -> StoredWeights:
    """Return the only file of `weights`, or the one with the given hash.

    Raises:
        DataError: there is no such file, or there are several and `sha256` is not given.
    """
    files = stored(weights, workspace)
    chosen = [each for each in files if sha256 in ("", each.sha256)]
    if len(chosen) == 1:
        return chosen[0]
    if len(chosen) > 1:
        hashes = ", ".join(each.sha256 for each in chosen)
        raise DataError(
            f"there are {len(chosen)} files of the weights '{weights.name}': {hashes}",
            hint="Choose one: give the method config: {sha256: ...}",
        )
    what = f"the weights '{weights.name}' are not in the workspace" + (f" with the SHA-256 {sha256}" if sha256 else "")
    raise DataError(what, hint=how_to_get(weights))


def read_weights(workspace: Workspace, name: str, sha256: str) -> StateDict:
    """Return the tensors of the published or own weights `name` that the workspace holds under `sha256`.

    Raises:
        DataError: the file is missing, changed, damaged or unsafe.
    """
    from sg_bench.networks.published.checkpoints import read_checkpoint

    path = (find(CATALOGUE[name], workspace, sha256) if name in CATALOGUE else find_own(name, workspace, sha256)).path
    return read_checkpoint(path, sha256=sha256, shown=f"{name} ({path.relative_to(workspace.root)})")


def how_to_get(weights: PublishedWeights) -> str:
    """Return the commands that add a file of `weights` to the workspace."""
    return f"Type sg-bench weights fetch {weights.name}, or sg-bench weights add {weights.name} PATH"


def accepted(weights: PublishedWeights, workspace: Workspace) -> LicenceAcceptance | None:
    """Return how the current licence of `weights` was accepted in this workspace before, None if it was not."""
    ways = [each.record["agreed"] for each in stored(weights, workspace) if each.record["licence"] == weights.licence]
    return ways[0] if ways else None


def add(
    weights: PublishedWeights, path: Path, workspace: Workspace, *, agreed: LicenceAcceptance, sha256: str = ""
) -> StoredWeights:
    """Copy a file into the workspace atomically, after checking that it contains these weights.

    Args:
        weights: the expected weights.
        path: the file.
        workspace: the destination.
        agreed: how the licence was accepted.
        sha256: the expected SHA-256; "": the first digits that the publisher states, if any.

    Raises:
        UsageError: `sha256` is not a SHA-256.
        DataError: the file is missing, damaged or unsafe, has another hash, or does not fit the network.
    """
    _examine(weights, path, checked_sha256(sha256) or weights.sha256_start, str(path))
    with _temporary_folder(weights, workspace) as folder:
        copy = Path(shutil.copyfile(path, folder / "copied"))
        return _keep(weights, workspace, copy, path.suffix, {"origin": f"added, as {path.name}", "agreed": agreed})


def checked_sha256(text: str) -> str:
    """Return what --sha256 names, in lower case; "" if it was not given.

    Raises:
        UsageError: it is not a SHA-256.
    """
    if text and not re.fullmatch(r"[0-9a-f]{64}", text.lower()):
        raise UsageError(f"--sha256 {text} is not 64 hexadecimal digits", hint="Copy it from sha256sum FILE")
    return text.lower()


def fetch(weights: PublishedWeights, workspace: Workspace, *, agreed: LicenceAcceptance) -> StoredWeights:
    """Download the publisher's file into the workspace, unless it was fetched before.

    The first download pins the hash: a different file at the same address is rejected later, even if the first one was
    deleted.

    Raises:
        DataError: the download fails, or the file is not the expected one.
    """
    pinned = pin_of(weights, workspace)
    here = [each for each in stored(weights, workspace) if each.sha256 == pinned]
    if here:
        return here[0]
    with _temporary_folder(weights, workspace) as folder:
        path = _downloaded(weights, folder)
        _examine(weights, path, pinned or weights.sha256_start, weights.url)
        suffix = Path(weights.file).suffix
        kept = _keep(weights, workspace, path, suffix, {"origin": weights.url, "agreed": agreed})
    write_json(_pin(weights, workspace), {"url": weights.url, "sha256": kept.sha256})
    return kept


def pin_of(weights: PublishedWeights, workspace: Workspace) -> str:
    """Return the SHA-256 of the first download, "" before it."""
    path = _pin(weights, workspace)
    return str(read_json(path)["sha256"]) if path.is_file() else ""


def _pin(weights: PublishedWeights, workspace: Workspace) -> Path:
    return _folder(weights, workspace) / "pinned.json"


def _downloaded(weights: PublishedWeights, folder: Path) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the hash is printed by the caller, after the checks
    loader = pooch.HTTPDownloader(progressbar=False, timeout=60)
    try:
        return Path(pooch.retrieve(weights.url, known_hash=None, fname="fetched", path=folder, downloader=loader))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise DataError(
            f"{weights.url} cannot be downloaded: {_cause(error)}",
            hint=f"Try again, or download it by other means and type sg-bench weights add {weights.name} PATH",
        ) from error


def _cause(error: BaseException) -> str:
    """Return the root cause of a failed download in a few words."""
    text = " ".join(str(error).split())
    inner = re.findall(r"(?:Errno \d+\] |\d{3} (?:Client|Server) Error: )([^'\")]+)", text)
    return (inner[-1] if inner else text or type(error).__name__)[:120].strip()


def _examine(weights: PublishedWeights, path: Path, sha256: str, shown: str) -> None:
    from sg_bench.networks.published.fitting import check_complete, examine

    check_complete(examine(path, weights, sha256=sha256, shown=shown), decoder=False, shown=shown)


def _keep(
    weights: PublishedWeights, workspace: Workspace, path: Path, suffix: str, origin: dict[str, str]
) -> StoredWeights:
    """Move a file from its temporary folder to its final name, after its record: a file without a record is ignored."""
    digest = file_digest(path)
    final = _folder(weights, workspace) / f"{digest}{suffix.lower()}"
    record = {
        "name": weights.name,
        "file": weights.file,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "licence": weights.licence,
        **origin,
    }
    earlier = next((each for each in stored(weights, workspace) if each.sha256 == digest), None)
    if earlier:
        return earlier
    write_json(final.with_suffix(RECORD), record)
    path.rename(final)
    return StoredWeights(final, digest, record)


@contextmanager
def _temporary_folder(weights: PublishedWeights, workspace: Workspace) -> Iterator[Path]:
    """Yield a temporary folder on the workspace's file system, so that a file can be moved from it atomically."""
    parent = _folder(weights, workspace)
    parent.mkdir(parents=True, exist_ok=True)
    with (
        workspace.lock(f"weights-{weights.name}"),
        tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as folder,
    ):
        yield Path(folder)


def _folder(weights: PublishedWeights, workspace: Workspace) -> Path:
    return workspace.path("weights", weights.name)


def all_stored(workspace: Workspace) -> dict[str, list[StoredWeights]]:
    """Return the workspace's files of all published weights, by name."""
    return {name: stored(weights, workspace) for name, weights in CATALOGUE.items()}
