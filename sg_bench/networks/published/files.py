"""Where published weights lie: `weights/<name>/<sha256>.<ending>` in the workspace, put there once and never changed.

Free of torch until a file is looked into. Beside each file stands a record: where it came from, and how its licence was
accepted. A file's name is its content, so a recipe names it by its hash and never by a path.
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
from sg_bench.networks.published.catalogue import CATALOGUE, PublishedWeights, published_weights
from sg_bench.workspace import Workspace, file_digest, read_json, write_json

if TYPE_CHECKING:
    from sg_bench.networks.weights import StateDict

LicenceAcceptance = Literal["--yes", "typed"]
"""How a person accepted a licence."""
RECORD = ".json"


@dataclass(frozen=True)
class StoredWeights:
    """One file of published weights in a workspace."""

    path: Path
    sha256: str
    record: dict[str, Any]
    """Its name, publisher's file name, origin, size in bytes, and the licence with how it was accepted."""


def stored(weights: PublishedWeights, workspace: Workspace) -> list[StoredWeights]:
    """Return the files of `weights` that are there, sorted by hash.

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
    """Return the record of a file, with at least how its licence was accepted."""
    try:
        record = read_json(path)
        return {"licence": "", "agreed": "--yes", "bytes": 0, **record}
    except (ValueError, TypeError) as error:
        hint = f"Delete it and the file beside it. {how_to_get(weights)}"
        raise DataError(f"{path} is damaged: {error}", hint=hint) from error


def find(weights: PublishedWeights, workspace: Workspace, sha256: str = "") -> StoredWeights:
    """Return the one file of `weights`, or that of a hash.

    Raises:
        DataError: there is none, or there are several and `sha256` does not say which.
    """
    files = stored(weights, workspace)
    chosen = [each for each in files if sha256 in ("", each.sha256)]
    if len(chosen) == 1:
        return chosen[0]
    if len(chosen) > 1:
        hashes = ", ".join(each.sha256 for each in chosen)
        raise DataError(
            f"there are {len(chosen)} files of the weights '{weights.name}': {hashes}",
            hint="Say which: give the method config: {sha256: ...}",
        )
    what = f"the weights '{weights.name}' are not here" + (f" with the SHA-256 {sha256}" if sha256 else "")
    raise DataError(what, hint=how_to_get(weights))


def read_weights(workspace: Workspace, name: str, sha256: str) -> StateDict:
    """Return the tensors of the published weights `name` that the workspace holds under `sha256`.

    Raises:
        DataError: the file is absent, no longer the same, damaged or hostile.
    """
    from sg_bench.networks.published.checkpoints import read_checkpoint

    path = find(published_weights(name), workspace, sha256).path
    return read_checkpoint(path, sha256=sha256, shown=f"{name} ({path.relative_to(workspace.root)})")


def how_to_get(weights: PublishedWeights) -> str:
    """Return the commands that bring a file of `weights` into the workspace."""
    return f"Type sg-bench weights fetch {weights.name}, or sg-bench weights add {weights.name} PATH"


def accepted(weights: PublishedWeights, workspace: Workspace) -> LicenceAcceptance | None:
    """Return how the licence of `weights`, as it reads now, was accepted in this workspace before, None if never."""
    ways = [each.record["agreed"] for each in stored(weights, workspace) if each.record["licence"] == weights.licence]
    return ways[0] if ways else None


def add(
    weights: PublishedWeights, path: Path, workspace: Workspace, *, agreed: LicenceAcceptance, sha256: str = ""
) -> StoredWeights:
    """Copy a file into the workspace, whole or not at all, once its content is known to be these weights.

    Args:
        weights: what the file is said to be.
        path: the file.
        workspace: where it goes.
        agreed: how the licence was accepted.
        sha256: what its SHA-256 must be; "": as the publisher says it begins, if he does.

    Raises:
        UsageError: `sha256` is no SHA-256.
        DataError: the file is absent, another, damaged or hostile, or does not fit the network.
    """
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256.lower()):
        raise UsageError(f"--sha256 {sha256} is not 64 hexadecimal digits", hint="Copy it from sha256sum FILE")
    _examine(weights, path, sha256.lower() or weights.sha256_start, str(path))
    with _beside(weights, workspace) as folder:
        copy = Path(shutil.copyfile(path, folder / "copied"))
        return _keep(weights, workspace, copy, path.suffix, {"origin": f"added, as {path.name}", "agreed": agreed})


def fetch(weights: PublishedWeights, workspace: Workspace, *, agreed: LicenceAcceptance) -> StoredWeights:
    """Download the publisher's file into the workspace; what was fetched before is not fetched again.

    The first file that was fetched pins the hash: another one under the same address is refused later, also after
    the first was deleted.

    Raises:
        DataError: it cannot be downloaded, or is not what it should be.
    """
    pinned = pin_of(weights, workspace)
    here = [each for each in stored(weights, workspace) if each.sha256 == pinned]
    if here:
        return here[0]
    with _beside(weights, workspace) as folder:
        path = _downloaded(weights, folder)
        _examine(weights, path, pinned or weights.sha256_start, weights.url)
        suffix = Path(weights.file).suffix
        kept = _keep(weights, workspace, path, suffix, {"origin": weights.url, "agreed": agreed})
    write_json(_pin(weights, workspace), {"url": weights.url, "sha256": kept.sha256})
    return kept


def pin_of(weights: PublishedWeights, workspace: Workspace) -> str:
    """Return the SHA-256 of the file that was fetched first, "" before that."""
    path = _pin(weights, workspace)
    return str(read_json(path)["sha256"]) if path.is_file() else ""


def _pin(weights: PublishedWeights, workspace: Workspace) -> Path:
    return _folder(weights, workspace) / "pinned.json"


def _downloaded(weights: PublishedWeights, folder: Path) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")  # we print the hash ourselves, once it is worth trusting
    loader = pooch.HTTPDownloader(progressbar=False, timeout=60)
    try:
        return Path(pooch.retrieve(weights.url, known_hash=None, fname="fetched", path=folder, downloader=loader))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise DataError(
            f"{weights.url} cannot be downloaded: {_cause(error)}",
            hint=f"Try again, or download it elsewhere and type sg-bench weights add {weights.name} PATH",
        ) from error


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a failed download in a few words."""
    text = " ".join(str(error).split())
    inner = re.findall(r"(?:Errno \d+\] |\d{3} (?:Client|Server) Error: )([^'\")]+)", text)
    return (inner[-1] if inner else text or type(error).__name__)[:120].strip()


def _examine(weights: PublishedWeights, path: Path, sha256: str, shown: str) -> None:
    from sg_bench.networks.published.fitting import check_complete, examine

    check_complete(examine(path, weights, sha256=sha256, shown=shown), decoder=False, shown=shown)


def _keep(
    weights: PublishedWeights, workspace: Workspace, path: Path, suffix: str, said: dict[str, str]
) -> StoredWeights:
    """Give a file in its temporary folder its final name, its record first: without a record it counts for nothing."""
    digest = file_digest(path)
    final = _folder(weights, workspace) / f"{digest}{suffix.lower()}"
    record = {
        "name": weights.name,
        "file": weights.file,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "licence": weights.licence,
        **said,
    }
    earlier = next((each for each in stored(weights, workspace) if each.sha256 == digest), None)
    if earlier:
        return earlier
    write_json(final.with_suffix(RECORD), record)
    path.rename(final)
    return StoredWeights(final, digest, record)


@contextmanager
def _beside(weights: PublishedWeights, workspace: Workspace) -> Iterator[Path]:
    """Yield a temporary folder on the workspace's own disk, so that a file can be moved from it in one step."""
    room = _folder(weights, workspace)
    room.mkdir(parents=True, exist_ok=True)
    with workspace.lock(f"weights-{weights.name}"), tempfile.TemporaryDirectory(dir=room, prefix=".coming-") as folder:
        yield Path(folder)


def _folder(weights: PublishedWeights, workspace: Workspace) -> Path:
    return workspace.path("weights", weights.name)


def all_stored(workspace: Workspace) -> dict[str, list[StoredWeights]]:
    """Return the files of every published weights by name, none where there are none."""
    return {name: stored(weights, workspace) for name, weights in CATALOGUE.items()}
