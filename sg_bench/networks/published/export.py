"""Export of an initialisation for use elsewhere: one file in one of three formats, and a model card.

The card lists the pretraining data, so that the weights are not tested on them by mistake.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save

from sg_bench.errors import DataError, UsageError
from sg_bench.networks.configs import MEDICALNET, SWIN_UNETR
from sg_bench.networks.published.card import model_card
from sg_bench.networks.weights import StateDict, load_initialisation
from sg_bench.workspace import DamagedCopyError, Remote, Workspace, in_parallel, read_json, write_atomic

WeightsFormat = Literal["safetensors", "official", "monai"]
"""safetensors: our tensor names; official: a torch file like the papers' authors'; monai: a plain state dict."""
SUFFIXES: dict[str, tuple[str, ...]] = {
    "safetensors": (".safetensors",),
    "official": (".pt", ".pth"),
    "monai": (".pt", ".pth"),
}
MIN_KEY_DIGITS = 6
"""Least number of digits of a key that identify an initialisation."""


@dataclass(frozen=True)
class Initialisation:
    """An initialisation in a workspace."""

    key: str
    record: dict[str, Any]
    encoder: StateDict
    decoder: StateDict
    """Empty if the method has no decoder."""

    @property
    def architecture(self) -> str:
        """Return the published architecture of its network, or "NAME of the registry"."""
        config = self.record["recipe"]["config"]
        if network := config.get("network"):
            return f"{network['name']} of the registry"
        return str(config.get("architecture") or ("resnet18" if config.get("dimension") == 2 else "unet3d"))


def find_initialisation(workspace: Workspace, reference: str) -> Initialisation:
    """Return the initialisation with the reference: a key, its first digits, or "method/seed".

    Raises:
        UsageError: no initialisation matches, or several do.
        DataError: the files of the initialisation are damaged.
    """
    records = _records(workspace)
    method, slash, seed = reference.rpartition("/")
    if slash:
        found = [key for key, each in records.items() if _named(each) == (method, seed)]
    else:
        is_key = re.fullmatch(r"[0-9a-f]+", reference) and len(reference) >= MIN_KEY_DIGITS
        found = [key for key in records if is_key and key.startswith(reference)]
    if not found:
        names = ", ".join(sorted({"/".join(_named(each)) for each in records.values()})) or "none; run a suite first"
        raise UsageError(f"no initialisation '{reference}' in {workspace.root}", hint=f"There are: {names}")
    if len(found) > 1:
        hint = f"Name one by its key: {', '.join(key[:12] for key in sorted(found))}"
        raise UsageError(f"{len(found)} initialisations are called '{reference}'", hint=hint)
    key, record = found[0], records[found[0]]
    if workspace.remote is not None:
        record = _fetched(workspace.remote, workspace, key)
    return Initialisation(key, record, *load_initialisation(workspace.path("initialisations", key)))


def export(
    initialisation: Initialisation, file_format: WeightsFormat, out: Path, cells: Iterable[dict[str, Any]] = ()
) -> Path:
    """Write an initialisation to `out` and its model card to the same name with suffix .md; return the card's path.

    Args:
        initialisation: the weights to write.
        file_format: see `WeightsFormat`.
        out: a file that does not exist yet, with the format's suffix.
        cells: finished records of a ledger, for the scores in the card.

    Raises:
        UsageError: the suffix does not match the format, or a file exists.
        DataError: the initialisation contains nothing that can be written in this format.
    """
    if out.suffix not in SUFFIXES[file_format]:
        raise UsageError(
            f"{out}: --to {file_format} writes {' or '.join(SUFFIXES[file_format])}", hint="Change the file's suffix"
        )
    card_path = out.with_suffix(".md")
    for path in (out, card_path):
        if path.exists():
            raise UsageError(f"{path} exists", hint="Choose another name, or remove it")
    state = export_tensors(initialisation, file_format)
    plain = initialisation.record["recipe"]
    text = model_card(plain, initialisation.key, initialisation.record, state, file_format, out.name, cells)
    write_atomic(out, _serialised(state, file_format, initialisation.key))
    write_atomic(card_path, text)
    return card_path


def export_tensors(initialisation: Initialisation, file_format: WeightsFormat) -> StateDict:
    """Return an initialisation's tensors under the names of a format.

    monai: of the 2D ResNet-18 only the encoder, with MONAI's names, and of SwinUNETR everything; other networks have no
    equal in MONAI, so their names are unchanged. official: an encoder without a decoder has its publisher's names,
    torchvision's or MedicalNet's.
    """
    both = {**initialisation.encoder, **initialisation.decoder}
    flat, bare = initialisation.architecture == "resnet18", not initialisation.decoder
    if file_format == "monai" and flat:
        return {name.removeprefix("encoder."): tensor for name, tensor in initialisation.encoder.items()}
    if file_format == "monai" and initialisation.architecture == f"{SWIN_UNETR} of the registry":
        renamed = {name.replace("segmentation_head.", "out.conv.conv.", 1): tensor for name, tensor in both.items()}
        return {name.removeprefix("decoder."): tensor for name, tensor in renamed.items()}
    if file_format == "official" and initialisation.architecture.removeprefix(MEDICALNET).isdigit():
        return {name.replace("encoder.", "module.", 1): tensor for name, tensor in initialisation.encoder.items()}
    if file_format == "official" and flat and bare:
        return {name.removeprefix("encoder."): tensor for name, tensor in both.items()}
    if not both:
        raise DataError(f"initialisation {initialisation.key[:12]} contains no tensors", hint="Pretrain it again")
    return both


def _serialised(state: StateDict, file_format: WeightsFormat, key: str) -> bytes:
    if file_format == "safetensors":
        return save(state, metadata={"format": "pt", "sg_bench_initialisation": key})
    buffer = io.BytesIO()
    torch.save({"state_dict": state} if file_format == "official" else state, buffer)
    return buffer.getvalue()


def _fetched(remote: Remote, workspace: Workspace, key: str) -> dict[str, Any]:
    """Copy an initialisation to this node, if it is kept elsewhere, and return its record."""
    try:
        remote.fetch("initialisations", key)
    except DamagedCopyError as error:
        raise DataError(str(error), hint="sg-bench run sets it aside and computes it again") from error
    record: dict[str, Any] = read_json(workspace.path("initialisations", key) / "record.json")
    return record


def _records(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return the records of all initialisations by key; those that are kept elsewhere are copied first."""
    if (remote := workspace.remote) is not None:
        keys = [name.removesuffix(".json") for name in remote.listing("initialisations") if name.endswith(".json")]
        in_parallel(lambda key: remote.fetch_file("initialisations", key, "record.json"), keys)
    paths = sorted(workspace.path("initialisations").glob("*/record.json"))
    return {path.parent.name: read_json(path) for path in paths if re.fullmatch(r"[0-9a-f]{64}", path.parent.name)}


def _named(record: dict[str, Any]) -> tuple[str, str]:
    return str(record["recipe"]["method"]), str(record["recipe"]["seed"])


EXPORT_FORMATS: tuple[WeightsFormat, ...] = get_args(WeightsFormat)
