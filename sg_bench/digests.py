"""Digests of what arrays hold: names, types, shapes and values, whatever file format they are stored in.

The bytes of a compressed file depend on the version of the library that wrote it; those of the arrays do not.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_bench.config import canonical_json
from sg_bench.errors import DataError
from sg_bench.workspace import file_digest, file_state, parsed_json, read_bytes, steady, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

OF_FILE = "file:"
"""Prefix of a digest that an older sg-bench took over a file's bytes."""
SEAL = "sha256"
"""Last field of a JSON file that holds the digest of the rest of it."""
_SEAL = re.compile(rb',(\n )?"sha256": ?"[0-9a-f]{64}"(\n)?\}\n?$')
_SEAL_BYTES = 96
"""More than the bytes of a digest at the end of a file."""


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


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write a compressed .npz, atomically, and return the digest of its content (64 hex digits)."""
    import numpy as np

    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    write_atomic(path, buffer.getvalue())
    return content_digest(arrays)


def npz_problem(path: Path) -> str:
    """Return "missing", "cut off" or "" for an .npz file, by its end alone, where an archive has its list of contents.

    Damage in the middle is not found: `npz_digest` reads everything.
    """
    try:
        with zipfile.ZipFile(path):
            return ""
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError, zipfile.BadZipFile):
        return "cut off"


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
        raise DataError(f"{path} is damaged: {error}", hint="Delete its cell's record to compute it again") from error


def npy_digest(path: Path, name: str | None) -> str:
    """Return the content digest of the array in an .npy file under a name, read once a process while it is unchanged.

    Without a name it is the SHA-256 of the values alone, as the first stores recorded it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no array of numbers.
    """
    return _npy_digest(str(path), name, file_state(path))


@lru_cache(maxsize=1 << 18)
def _npy_digest(path: str, name: str | None, state: tuple[int, int, int] | None) -> str:
    import numpy as np

    array = steady(np.load, path, mmap_mode="r", allow_pickle=False)
    return hashlib.sha256(array.tobytes()).hexdigest() if name is None else content_digest({name: array})


def safetensors_digest(paths: Iterable[Path]) -> str:
    """Return the content digest of the tensors in some safetensors files, without torch; absent files hold none.

    Raises:
        ValueError: a file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        files = {path.name: steady(load_file, path) for path in paths if path.is_file()}
        return content_digest({f"{file}/{name}": files[file][name] for file in files for name in files[file]})
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def weights_digest(paths: Iterable[Path], *, like: str = "") -> str:
    """Return the content digest of an initialisation; if `like` is one of files, as older records hold it, that."""
    present = [path for path in paths if path.is_file()]
    if not like.startswith(OF_FILE):
        return safetensors_digest(present)
    lines = (f"{path.name} {file_digest(path)}\n" for path in present)
    return OF_FILE + hashlib.sha256("".join(lines).encode()).hexdigest()


def write_sealed(path: Path, value: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write `value` as sorted JSON that ends with the digest of all before, atomically."""
    write_atomic(path, sealed_text(value, indent=indent))


def sealed_text(value: Mapping[str, Any], *, indent: int | None = 1) -> str:
    """Return the text that `write_sealed` writes; without an indent its digest is that of the canonical JSON."""
    plain = {name: each for name, each in value.items() if name != SEAL}
    if indent is None:
        text = canonical_json(plain)
        return f'{text[:-1]},"{SEAL}":"{hashlib.sha256(text.encode()).hexdigest()}"}}'
    text = json.dumps(plain, indent=indent, sort_keys=True, allow_nan=False) + "\n"
    return f'{text[:-3]},\n "{SEAL}": "{hashlib.sha256(text.encode()).hexdigest()}"\n}}\n'


def read_sealed(path: Path) -> Any:
    """Return the JSON in `path` without its digest, after checking that; files without one are read as they are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON, or the digest is that of something else.
    """
    return unsealed(read_bytes(path))


def unsealed(raw: bytes) -> Any:
    """Return the JSON of a file's content, as `read_sealed` does."""
    value = parsed_json(raw)
    if isinstance(value, dict) and SEAL in value and value.pop(SEAL) != unsealed_digest(raw):
        raise ValueError("its content has another digest than it states")
    return value


def unsealed_digest(raw: bytes) -> str:
    """Return the SHA-256 (64 hex digits) of a JSON file's content as it was before its digest was added."""
    match = _SEAL.search(raw[-_SEAL_BYTES:])
    total = hashlib.sha256(raw[: match.start() - min(len(raw), _SEAL_BYTES)] if match else raw)
    total.update((b"\n}\n" if match[2] else b"}") if match else b"")
    return total.hexdigest()
