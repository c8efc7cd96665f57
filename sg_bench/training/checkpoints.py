"""The checkpoint of a training: one file, replaced atomically, from which the training resumes to the same bits."""

from __future__ import annotations

import contextlib
import io
import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sg_bench.networks.published.checkpoints import READ_ERRORS
from sg_bench.workspace import write_atomic

CheckpointState = dict[str, Any]
"""Tensors, numbers, text, and lists and dicts of them."""
NAME = "last.pt"
UNREADABLE = (*READ_ERRORS, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""Errors of a checkpoint that is cut off, damaged, or of another training."""
_log = logging.getLogger(__name__)


def save_state(folder: Path, state: CheckpointState) -> None:
    """Write `state` to `folder`/last.pt, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(folder / NAME, buffer.getvalue())


def load_state(folder: Path) -> CheckpointState | None:
    """Return the saved state, or None if there is none. An unreadable file is set aside and ignored.

    torch reads tensors without looking at their checksums, so those are compared first.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"{damaged} has another checksum")
        state: CheckpointState = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        set_state_aside(folder, error)
        return None
    return state


def set_state_aside(folder: Path, reason: Exception) -> None:
    """Rename a checkpoint that cannot be used to last.damaged, until the training is done, and log why."""
    path = folder / NAME
    path.rename(path.with_suffix(".damaged"))
    _log.warning("Set aside as %s.damaged: %s (%s). The training starts again", path.stem, path, _short(reason))


def check_places(counts: Sequence[int], stages: int) -> None:
    """Raise a ValueError unless (stage, epoch, stale epochs, steps) is a place in a training of so many stages."""
    if not all(type(count) is int and count >= 0 for count in counts) or counts[0] > stages:
        raise ValueError(f"stage, epoch, stale epochs and steps are {counts}")


def check_weights(network: nn.Module, weights: Mapping[str, Tensor] | None) -> None:
    """Raise a ValueError unless weights are None or those of such a network."""
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if weights is not None and {name: tensor.shape for name, tensor in weights.items()} != own:
        raise ValueError("the best weights are those of another network")


def check_moments(optimiser: torch.optim.Optimizer) -> None:
    """Raise a ValueError unless what an optimiser keeps of a parameter has its shape, which torch does not compare."""
    for parameter, moments in optimiser.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.dim() and moment.shape != parameter.shape:
                raise ValueError(f"{name} is {tuple(moment.shape)} where the parameter is {tuple(parameter.shape)}")


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def clear_state(folder: Path) -> None:
    """Remove the checkpoint, also a damaged one, and the folder if it is empty then."""
    for path in (folder / NAME, (folder / NAME).with_suffix(".damaged")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
