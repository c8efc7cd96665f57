"""Reads files of published weights without running anything that they ask for.

A torch file is a pickle, and a pickle may call any function. It is read with torch's `weights_only`, which builds
tensors and plain containers and refuses the rest; only the numpy scalars that some official files hold are let in.

Source: the loader contract of protocol part E.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sg_bench.errors import DataError
from sg_bench.networks.weights import StateDict
from sg_bench.workspace import file_digest

WRAPPERS = ("module.", "classficationNet.")
"""What official files have before every name, the second misspelt as here; taken off at the start, once each."""
HDF5, ZIP, PICKLE = b"\x89HDF", b"PK\x03\x04", b"\x80"
TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46"
"""How files of torch before 1.6 begin."""
PAGE = (b"<!doc", b"<html")
AGAIN = "Delete it and fetch it again"
DAMAGE = (RuntimeError, EOFError, LookupError, OSError, ValueError, TypeError, AttributeError, pickle.UnpicklingError)
"""What reading a broken file may raise."""


def read_checkpoint(path: Path, *, sha256: str = "", shown: str = "") -> StateDict:
    """Return the tensors of a torch or safetensors file by name, on the CPU; nothing that it asks for is run.

    Wrappers' prefixes are taken off the names; all tensors are as the file has them otherwise.

    Args:
        path: the file; its content, not its name, says which kind it is.
        sha256: what its SHA-256 must be, or how that must begin; "" accepts any.
        shown: what messages call it, by default its path.

    Raises:
        DataError: it is absent, of another hash or kind, damaged, hostile, or holds no tensors by name.
    """
    name = shown or str(path)
    if not path.is_file():
        raise DataError(f"{name}: no such file", hint="Correct the path")
    if sha256:
        _check_hash(path, sha256, name)
    with path.open("rb") as file:
        head = file.read(16)
    _check_kind(head, name)
    content = _read_safetensors(path, name) if head[8:9] == b"{" else _read_torch(path, name, head)
    return _plain(_unwrapped(_tensors(content, name), name), name)


def _check_hash(path: Path, sha256: str, name: str) -> None:
    found = file_digest(path)
    if not found.startswith(sha256):
        raise DataError(
            f"{name}: its SHA-256 is {found}, and {sha256}{'' if len(sha256) == 64 else '...'} was expected",
            hint=f"It is another file, or a part of it. {AGAIN}",
        )


def _check_kind(head: bytes, name: str) -> None:
    """Refuse what is plainly no weights, so that nobody has to guess from the words of a parser."""
    if not head:
        raise DataError(f"{name}: the file is empty", hint=AGAIN)
    if head.startswith(HDF5):
        raise DataError(
            f"{name}: it is a Keras file (HDF5), whose decoder and batch norm do not carry over",
            hint="Take the torch file (.pt) of the same weights",
        )
    if head.lstrip().lower().startswith(PAGE):
        raise DataError(
            f"{name}: it is a web page, not weights", hint="Download the file itself, in a browser if it must be"
        )


def _read_safetensors(path: Path, name: str) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, *DAMAGE) as error:
        raise _damaged(name, error) from error


def _read_torch(path: Path, name: str, head: bytes) -> Any:
    """Return what a torch file holds, where it is made of nothing but tensors, numbers, text and containers of them."""
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old torch versions' files
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise _refused(name, error, head) from error


def _refused(name: str, error: Exception, head: bytes) -> DataError:
    """Return why torch would not read a file: what it asks for, what it is instead, or where it breaks off."""
    asked = _asked_for(str(error))
    if asked:
        return DataError(
            f"{name}: it asks for '{asked}', which is neither a tensor nor a number; none of it was run",
            hint="Do not open it by other means; take the publisher's own file and compare its SHA-256",
        )
    kinds = {"TorchScript": "a program (TorchScript)", "legacy .tar": "a torch file from before 2018"}
    kind = next((kind for word, kind in kinds.items() if word in str(error)), "")
    if not kind and not head.startswith((ZIP, TORCH)):
        kind = "a pickle of something else, which was not opened" if head.startswith(PICKLE) else "no file of weights"
    if kind:
        return DataError(f"{name}: it is {kind}", hint="Take the .pt, .pth or .safetensors file of the weights")
    return _damaged(name, error)


def _numpy_scalars() -> list[Any]:
    """Return what official files need beyond tensors: their best loss is a numpy number, under old and new names."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("float32", "float64", "int64")]
    return [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")] + [np.dtype, *kinds]


def _asked_for(message: str) -> str:
    """Return the function or class that a refused pickle named, "" if it was refused for another reason."""
    found = re.search(
        r"GLOBAL (\S+) was not an allowed|(?:class|function) (\S+) from|unrecognized function (.+)", message
    )
    if found is None:
        blocked = re.search(r"Trying to load unsupported GLOBAL (\S+)|GLOBAL (\S+) whose module", message)
        return next(filter(None, blocked.groups()), "") if blocked else ""
    return " ".join(next(filter(None, found.groups())).split())[:80].rstrip(".")


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: it is cut short or damaged ({_short(error)})", hint=AGAIN)


def _tensors(content: Any, name: str) -> StateDict:
    """Return the tensors of a file: of its `state_dict`, or the file itself is one."""
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if isinstance(inner, Mapping) and inner and all(isinstance(each, Tensor) for each in inner.values()):
        return {str(key): tensor for key, tensor in inner.items()}
    what = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        what = f"{', '.join(map(str, list(content)[:4]))}" if content else "nothing"
    raise DataError(
        f"{name}: it holds {what}, and no tensors by name", hint="It must hold a state dict, or one under 'state_dict'"
    )


def _unwrapped(state: StateDict, name: str) -> StateDict:
    out: StateDict = {}
    for key, tensor in state.items():
        plain = key
        for wrapper in WRAPPERS:
            plain = plain.removeprefix(wrapper)
        if plain in out:
            raise DataError(f"{name}: two of its tensors are called {plain}", hint="Take the publisher's own file")
        out[plain] = tensor
    return out


def _plain(state: StateDict, name: str) -> StateDict:
    """Refuse tensors that are no plain finite numbers."""
    for key, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
            raise DataError(f"{name}: {key} is no plain tensor of numbers", hint="Take the publisher's own file")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError(f"{name}: {key} holds NaN or infinity", hint=AGAIN)
    return state


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". This")[0] or type(error).__name__
    return text if len(text) <= 90 else f"{text[:87]}..."
