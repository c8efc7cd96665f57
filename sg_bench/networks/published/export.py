"""Writes an initialisation out for others: one file in one of three forms, and a card that says what it is.

The card tells what the weights have seen, so that nobody tests them on it unawares.
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
from sg_bench.networks.published.card import model_card
from sg_bench.networks.weights import StateDict, load_initialisation
from sg_bench.workspace import Workspace, read_json, write_atomic

ExportFormat = Literal["safetensors", "official", "monai"]
"""safetensors: our names; official: a torch file as the papers' authors publish them; monai: a bare state dict."""
SUFFIXES: dict[str, tuple[str, ...]] = {
    "safetensors": (".safetensors",),
    "official": (".pt", ".pth"),
    "monai": (".pt", ".pth"),
}
LEAST_DIGITS = 6
"""Of a key, to name an initialisation by."""


@dataclass(frozen=True)
class Initialisation:
    """One initialisation of a workspace."""

    key: str
    record: dict[str, Any]
    encoder: StateDict
    decoder: StateDict
    """Empty if the method has none."""

    @property
    def architecture(self) -> str:
        """Return what network it is for."""
        config = self.record["recipe"]["config"]
        return str(config.get("architecture") or ("resnet18" if config.get("dimension") == 2 else "unet3d"))

    @property
    def width(self) -> int:
        """Return the width of that network."""
        return int(self.record["recipe"]["config"]["width"])


def find_initialisation(workspace: Workspace, reference: str) -> Initialisation:
    """Return the initialisation that a key, its first digits, or "method/seed" names.

    Raises:
        UsageError: none or several are called that.
        DataError: its files are damaged.
    """
    records = _records(workspace)
    method, slash, seed = reference.rpartition("/")
    if slash:
        found = [key for key, each in records.items() if _named(each) == (method, seed)]
    else:
        whole = re.fullmatch(r"[0-9a-f]+", reference) and len(reference) >= LEAST_DIGITS
        found = [key for key in records if whole and key.startswith(reference)]
    if not found:
        names = ", ".join(sorted({"/".join(_named(each)) for each in records.values()})) or "none, run a suite first"
        raise UsageError(f"no initialisation '{reference}' in {workspace.root}", hint=f"There are: {names}")
    if len(found) > 1:
        hint = f"Name one by its key: {', '.join(key[:12] for key in sorted(found))}"
        raise UsageError(f"{len(found)} initialisations are called '{reference}'", hint=hint)
    key = found[0]
    return Initialisation(key, records[key], *load_initialisation(workspace.path("initialisations", key)))


def export(
    initialisation: Initialisation, file_format: ExportFormat, out: Path, cells: Iterable[dict[str, Any]] = ()
) -> Path:
    """Write an initialisation to `out` and its card beside it, and return the card's path.

    Args:
        initialisation: what to write.
        file_format: see `ExportFormat`.
        out: a file that does not exist yet; its suffix must be the format's.
        cells: finished records of a ledger, from which the card takes what the weights were worth.

    Raises:
        UsageError: the ending is another, or a file of that name exists.
        DataError: the initialisation contains nothing that can be written in this format.
    """
    if out.suffix not in SUFFIXES[file_format]:
        raise UsageError(
            f"{out}: --to {file_format} writes {' or '.join(SUFFIXES[file_format])}", hint="Change the file's ending"
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


def export_tensors(initialisation: Initialisation, file_format: ExportFormat) -> StateDict:
    """Return an initialisation's tensors under the names that a form has.

    monai: of a 2D network only the encoder, as MONAI's own ResNet-18 names it; MONAI has no network equal to the 3D
    ones, whose names stay. official: an encoder alone is named as its publisher does, torchvision or MedicalNet.
    """
    both = {**initialisation.encoder, **initialisation.decoder}
    flat, bare = initialisation.architecture == "resnet18", not initialisation.decoder
    if file_format == "monai" and flat:
        return {name.removeprefix("encoder."): tensor for name, tensor in initialisation.encoder.items()}
    if file_format == "official" and initialisation.architecture.startswith("medicalnet"):
        return {name.replace("encoder.", "module.", 1): tensor for name, tensor in initialisation.encoder.items()}
    if file_format == "official" and flat and bare:
        return {name.removeprefix("encoder."): tensor for name, tensor in both.items()}
    if not both:
        raise DataError(f"initialisation {initialisation.key[:12]} holds no tensors", hint="Pretrain it again")
    return both


def _serialised(state: StateDict, file_format: ExportFormat, key: str) -> bytes:
    if file_format == "safetensors":
        return save(state, metadata={"format": "pt", "sg_bench_initialisation": key})
    buffer = io.BytesIO()
    torch.save({"state_dict": state} if file_format == "official" else state, buffer)
    return buffer.getvalue()


def _records(workspace: Workspace) -> dict[str, dict[str, Any]]:
    paths = sorted(workspace.path("initialisations").glob("*/record.json"))
    return {path.parent.name: read_json(path) for path in paths if re.fullmatch(r"[0-9a-f]{64}", path.parent.name)}


def _named(record: dict[str, Any]) -> tuple[str, str]:
    return str(record["recipe"]["method"]), str(record["recipe"]["seed"])


EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
