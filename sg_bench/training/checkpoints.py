"""Where a training stands, on disk: one file, replaced in one step, that resumes to the same bits."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from sg_bench.workspace import write_atomic

State = dict[str, Any]
NAME = "last.pt"


def save_state(folder: Path, state: State) -> None:
    """Write `state` (tensors, numbers, text, lists and dicts of them) to `folder`/last.pt, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(folder / NAME, buffer.getvalue())


def load_state(folder: Path) -> State | None:
    """Return the saved state, or None if there is none that can be read: the training then starts anew."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, LookupError, OSError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile):
        with contextlib.suppress(FileNotFoundError):  # another rank was faster
            path.rename(path.with_suffix(".damaged"))
        return None
    return state


def clear_state(folder: Path) -> None:
    """Remove the checkpoint, also a damaged one, and the folder if nothing else is in it."""
    for path in (folder / NAME, (folder / NAME).with_suffix(".damaged")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
