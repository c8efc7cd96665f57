"""Files of a user's own weights in the workspace; free of torch, so that planning can look them up."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sg_bench.errors import DataError, UsageError, did_you_mean
from sg_bench.networks.published.catalogue import CATALOGUE
from sg_bench.workspace import Workspace, read_json, write_atomic, write_json

SUFFIX = ".safetensors"
NIFTYNET: Final = "niftynet"
KNOWN: dict[str, dict[str, Any]] = {
    NIFTYNET: {
        "network": "dense_vnet",
        "licence": "CC BY 4.0, according to its page in NiftyNet's model zoo",
        "corpus": "Pancreas-CT and BTCV: abdominal CT, with labels",
        "sources": [],
        "size": "NiftyNet's dense V-Net, abdominal CT (3D): 878 514 parameters, 4 MB or more",
        "url": "https://github.com/NifTK/NiftyNetModelZoo, folder dense_vnet_abdominal_ct: a TensorFlow checkpoint",
    }
}
"""Published weights that are added as a user's own are; size and address are for `weights list`."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class OwnWeights:
    """A user's weights in a workspace, under the names of a network's tensors."""

    path: Path
    sha256: str
    record: dict[str, Any]
    """Network, origin, coverage, and the licence, corpus and sources that the user declared."""


def keep(name: str, content: bytes, record: dict[str, Any], workspace: Workspace) -> OwnWeights:
    """Write weights into the workspace, after their record: a file without a record is ignored."""
    digest = hashlib.sha256(content).hexdigest()
    path = workspace.path("weights", name) / f"{digest}{SUFFIX}"
    with workspace.lock(f"weights-{name}"):
        write_json(path.with_suffix(".json"), {**record, "sha256": digest, "bytes": len(content)})
        write_atomic(path, content)
    return OwnWeights(path, digest, record)


def check_own_name(name: str) -> None:
    """Check that a name can be given to a user's own weights.

    Raises:
        UsageError: it is a publication's, or not valid.
    """
    if name in CATALOGUE or name in KNOWN:
        raise UsageError(
            f"'{name}' is the name of published weights, whose network is known",
            hint="Leave --network out, or choose another name for your own file",
        )
    if not NAME.fullmatch(name):
        raise UsageError(f"the name '{name}' is not valid", hint="Use letters, digits, '_', '-' and '.'")


def own_weights(workspace: Workspace) -> dict[str, list[OwnWeights]]:
    """Return all own weights of a workspace by name."""
    folders = sorted(each for each in workspace.path("weights").glob("*") if each.name not in CATALOGUE)
    found = {folder.name: _in_folder(folder) for folder in folders if folder.is_dir()}
    return {name: files for name, files in found.items() if files}


def find_own(name: str, workspace: Workspace, sha256: str = "") -> OwnWeights:
    """Return the only own weights called `name`, or those with the given hash.

    Raises:
        DataError: there are none, or there are several and `sha256` is not given.
    """
    files = [each for each in _in_folder(workspace.path("weights", name)) if sha256 in ("", each.sha256)]
    if len(files) == 1:
        return files[0]
    if files:
        raise DataError(
            f"there are {len(files)} files of the weights '{name}': {', '.join(each.sha256 for each in files)}",
            hint="Choose one: give the method config: {weights: ..., sha256: ...}",
        )
    network = "" if name in KNOWN else " --network NETWORK"
    hint = f"Type sg-bench weights add {name} FILE{network}. {did_you_mean(name, own_weights(workspace))}"
    raise DataError(f"the weights '{name}' are not in the workspace", hint=hint)


def _in_folder(folder: Path) -> list[OwnWeights]:
    paths = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path.with_suffix(".json").is_file()]
    return [OwnWeights(path, path.stem, read_json(path.with_suffix(".json"))) for path in paths]
