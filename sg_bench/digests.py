"""Digests of what arrays hold: names, types, shapes and values, whatever file format they are stored in.

The bytes of a compressed file depend on the version of the library that wrote it; those of the arrays do not.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_bench.errors import DataError
from sg_bench.workspace import file_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

OF_FILE = "file:"
"""Prefix of a digest that an older sg-bench took over a file's bytes."""


def content_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 (64 hex digits) of arrays by name: names, dtypes, shapes and little-endian bytes.

    The order of the mapping and the memory layout of the arrays do not matter.

    Raises:
        TypeError: an array holds objects.
    """
    import numpy as np

    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.hasobject:
            raise TypeError(f"'{name}' holds objects; a digest is taken of numbers and strings")
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        total.update(f"{name!r} {array.dtype.str} {array.shape}\n".encode("utf-8", "surrogateescape"))
        total.update(array.reshape(-1).view(np.uint8).data if array.nbytes else b"")
    return total.hexdigest()


def npz_digest(path: Path, *, like: str = "") -> str:
    """Return the content digest of the arrays in an .npz file; if `like` is a file's digest, that of the file.

    Raises:
        DataError: the file is damaged.
        FileNotFoundError: the file is absent.
    """
    import numpy as np

    if like.startswith(OF_FILE):
        return OF_FILE + file_digest(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return content_digest({name: file[name] for name in file.files})
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}", hint="Delete it; its cell is computed again") from error


def safetensors_digest(paths: Iterable[Path]) -> str:
    """Return the content digest of the tensors in some safetensors files, without torch; absent files hold none.

    Raises:
        ValueError: a file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        files = {path.name: load_file(path) for path in paths if path.is_file()}
        return content_digest({f"{file}/{name}": files[file][name] for file in files for name in files[file]})
    except SafetensorError as error:
        raise ValueError(str(error)) from error
