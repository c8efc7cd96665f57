"""The checkpoint of a training: one file, replaced atomically, from which the training resumes to the same bits."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from sg_bench.workspace import write_atomic

CheckpointState = dict[str, Any]
"""Tensors, numbers, text, and lists and dicts of them."""
NAME = "last.pt"


def save_state(folder: Path, state: CheckpointState) -> None:
    """Write `state` to `folder`/last.pt, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(folder / NAME, buffer.getvalue())


def load_state(folder: Path) -> CheckpointState | None:
    """Return the saved state, or None if there is none. An unreadable file is renamed to last.damaged and ignored."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: CheckpointState = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, LookupError, OSError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile):
        with contextlib.suppress(FileNotFoundError):  # another rank has renamed it already
            path.rename(path.with_suffix(".damaged"))
        return None
    return state


def clear_state(folder: Path) -> None:
    """Remove the checkpoint, also a damaged one, and the folder if it is empty then."""
    for path in (folder / NAME, (folder / NAME).with_suffix(".damaged")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
