"""Safe reading of weight files: no code in them is executed.

A torch file is a pickle, and a pickle may call any function. It is read with torch's `weights_only`, which builds
tensors and plain containers and rejects everything else, except the numpy scalars in some official files.

Source: the loader contract of protocol part E.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sg_bench.errors import DataError
from sg_bench.networks.published.bundle import INDEX, read_bundle
from sg_bench.networks.weights import StateDict
from sg_bench.workspace import file_digest

WRAPPERS = ("module.", "classficationNet.")
"""Prefixes of all names in official files (the second is misspelt there), removed at most once each."""
HDF5, ZIP, PICKLE = b"\x89HDF", b"PK\x03\x04", b"\x80"
TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46"
"""First bytes of files of torch before 1.6."""
PAGE = (b"<!doc", b"<html")
FETCH_AGAIN = "Delete it and fetch it again"
READ_ERRORS = (
    RuntimeError,
    EOFError,
    LookupError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)
"""Exceptions from reading a broken file."""


def read_checkpoint(
    path: Path, *, sha256: str = "", shown: str = "", nested: Sequence[str] = ("state_dict",)
) -> StateDict:
    """Return the tensors of a torch, safetensors or TensorFlow file by name, on the CPU; no code in it is executed.

    Prefixes of wrappers are removed from the names; the tensors are unchanged.

    Args:
        path: the file; its kind is detected from the content, and TensorFlow's from its ending, .index.
        sha256: expected SHA-256, or its first digits; "" accepts any.
        shown: name of the file in messages, by default its path.
        nested: keys under which the tensors may be, also one inside another.

    Raises:
        DataError: the file is missing, damaged or unsafe, has another hash or kind, or contains no named tensors.
    """
    name = shown or str(path)
    if not path.is_file():
        raise DataError(f"{name}: no such file", hint="Correct the path")
    if sha256:
        _check_hash(path, sha256, name)
    if path.suffix == INDEX:
        return _checked(_unwrapped(read_bundle(path), name), name)
    with path.open("rb") as file:
        head = file.read(16)
    _check_kind(head, name)
    content = _read_safetensors(path, name) if head[8:9] == b"{" else _read_torch(path, name, head)
    return _checked(_unwrapped(_tensors(content, name, nested), name), name)


def _check_hash(path: Path, sha256: str, name: str) -> None:
    found = file_digest(path)
    if not found.startswith(sha256):
        raise DataError(
            f"{name}: its SHA-256 is {found}, and {sha256}{'' if len(sha256) == 64 else '...'} was expected",
            hint=f"It is another file or an incomplete one. {FETCH_AGAIN}",
        )


def _check_kind(head: bytes, name: str) -> None:
    """Reject files that are clearly not weights with a better message than a parser's."""
    if not head:
        raise DataError(f"{name}: the file is empty", hint=FETCH_AGAIN)
    if head.startswith(HDF5):
        raise DataError(
            f"{name}: it is a Keras file (HDF5), whose decoder and batch norm do not carry over",
            hint="Use the torch file (.pt) of the same weights",
        )
    if head.lstrip().lower().startswith(PAGE):
        raise DataError(
            f"{name}: it is a web page, not weights", hint="Download the file itself, if necessary in a browser"
        )


def _read_safetensors(path: Path, name: str) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, *READ_ERRORS) as error:
        raise _damaged(name, error) from error


def _read_torch(path: Path, name: str, head: bytes) -> Any:
    """Return the content of a torch file made of tensors, numbers, text and containers of them only."""
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files of old torch versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise _refused(name, error, head) from error


def _refused(name: str, error: Exception, head: bytes) -> DataError:
    """Return why torch did not read a file: unsafe content, another kind of file, or damage."""
    unsafe = _unsafe_global(str(error))
    if unsafe:
        return DataError(
            f"{name}: it contains '{unsafe}', which is neither a tensor nor a number; no code was executed",
            hint="Do not open it by other means; use the publisher's own file and compare its SHA-256",
        )
    kinds = {"TorchScript": "a program (TorchScript)", "legacy .tar": "a torch file from before 2018"}
    kind = next((kind for word, kind in kinds.items() if word in str(error)), "")
    if not kind and not head.startswith((ZIP, TORCH)):
        kind = "a pickle of something else, and was not opened" if head.startswith(PICKLE) else "not a file of weights"
    if kind:
        return DataError(f"{name}: it is {kind}", hint="Use the .pt, .pth or .safetensors file of the weights")
    return _damaged(name, error)


def _numpy_scalars() -> list[Any]:
    """Return the numpy types in official files (their best loss is a numpy scalar), under old and new names."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("float32", "float64", "int64")]
    return [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")] + [np.dtype, *kinds]


def _unsafe_global(message: str) -> str:
    """Return the function or class that made torch reject a pickle, "" if it was another reason."""
    found = re.search(
        r"GLOBAL (\S+) was not an allowed|(?:class|function) (\S+) from|unrecognized function (.+)", message
    )
    if found is None:
        blocked = re.search(r"Trying to load unsupported GLOBAL (\S+)|GLOBAL (\S+) whose module", message)
        return next(filter(None, blocked.groups()), "") if blocked else ""
    return " ".join(next(filter(None, found.groups())).split())[:80].rstrip(".")


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: it is truncated or damaged ({_short(error)})", hint=FETCH_AGAIN)


def _tensors(content: Any, name: str, nested: Sequence[str]) -> StateDict:
    """Return the tensors of a file, under one of its `nested` keys or outside of them."""
    inner = content
    while isinstance(inner, Mapping) and (key := next((each for each in nested if each in inner), None)):
        inner = inner[key]
    if isinstance(inner, Mapping) and inner and all(isinstance(each, Tensor) for each in inner.values()):
        return {str(key): tensor for key, tensor in inner.items()}
    what = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        what = f"{', '.join(map(str, list(content)[:4]))}" if content else "nothing"
    keys = "', '".join(nested)
    raise DataError(
        f"{name}: it contains {what} and no named tensors", hint=f"It must contain a state dict, or one under '{keys}'"
    )


def _unwrapped(state: StateDict, name: str) -> StateDict:
    out: StateDict = {}
    for key, tensor in state.items():
        plain = key
        for wrapper in WRAPPERS:
            plain = plain.removeprefix(wrapper)
        if plain in out:
            raise DataError(f"{name}: two of its tensors are called {plain}", hint="Use the publisher's own file")
        out[plain] = tensor
    return out


def _checked(state: StateDict, name: str) -> StateDict:
    """Reject tensors that are not dense, real and finite."""
    for key, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
            raise DataError(f"{name}: {key} is not a dense tensor of real numbers", hint="Use the publisher's own file")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError(f"{name}: {key} contains NaN or infinity", hint=FETCH_AGAIN)
    return state


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". This")[0] or type(error).__name__
    return text if len(text) <= 90 else f"{text[:87]}..."
