"""Headers of MetaImage and NRRD files: their data files, and the size that they claim."""

from __future__ import annotations

import math
from pathlib import Path, PureWindowsPath

from sg_bench.data.sources.base import Problem

METAIMAGE = (".mhd", ".mha")
NRRD = (".nrrd", ".nhdr")
MOST_PACKED = 1032
"""Deflate packs at most so many bytes into one."""
_HEADER = 65536
"""Bytes of the longest header that is read."""
_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR", "char", "signed char", "unsigned char", "int8", "uint8"), 1),
    **dict.fromkeys(("int8_t", "uint8_t", "uchar"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT", "short", "unsigned short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("short int", "signed short", "unsigned short int", "int16_t", "uint16_t"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT", "int", "uint", "unsigned int", "int32", "uint32"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG", "signed int", "int32_t", "uint32_t", "float"), 4),
    **dict.fromkeys(("MET_DOUBLE", "MET_LONG_LONG", "MET_ULONG_LONG", "double", "int64", "uint64"), 8),
    **dict.fromkeys(("int64_t", "uint64_t", "long long", "unsigned long long", "longlong", "ulonglong"), 8),
}
"""Bytes of a value; MET_LONG has 4 or 8, depending on the platform."""


def leaves_folder(pattern: str) -> bool:
    """Return whether a relative path or glob leads out of its folder."""
    path = PureWindowsPath(pattern)
    return ".." in path.parts or bool(path.anchor)


def data_files(path: Path, problems: list[Problem]) -> list[Path]:
    """Return the data file of a MetaImage header, [] if it is the same file; add a problem if it is missing."""
    if path.suffix.lower() not in METAIMAGE or not path.is_file():
        return []
    name = metaimage_header(path).get("ElementDataFile", "")
    if name.upper() == "LOCAL":
        return []
    data = path.parent / name
    if not name or not data.is_file() or leaves_folder(name):
        what = f"its data file '{name}' is missing or in another folder. Copy it there"
        problems.append(Problem(str(path), what))
        return []
    return [data]


def metaimage_header(path: Path) -> dict[str, str]:
    """Return the "Key = value" lines of a MetaImage header, which ends with ElementDataFile.

    Raises:
        OSError: the file cannot be opened.
    """
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file.read(_HEADER).split(b"\n"):
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals:
                fields[key.strip()] = value.strip()
            if not equals or key.strip() == "ElementDataFile":
                break
    return fields


def check_claimed_size(path: Path) -> None:
    """Check that a file can hold what its header claims, so that no memory is taken for what is not there.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the size is missing or absurd, or larger than the file; a MetaImage or NRRD of several data files.
    """
    nrrd = path.suffix.lower() in NRRD
    fields = _nrrd_fields(path) if nrrd else metaimage_header(path)
    sizes = fields.get("sizes" if nrrd else "DimSize", "").split()
    if not sizes or not all(size.isdecimal() and 0 < int(size) < 2**31 for size in sizes):
        raise ValueError(f"its header gives the size '{' '.join(sizes)[:80]}'")
    kind = fields.get("type" if nrrd else "ElementType", "")
    if kind.removesuffix("_ARRAY") not in _TYPES:
        raise ValueError(f"its header gives the type of voxels '{kind[:40]}'")
    values = fields.get("ElementNumberOfChannels", "1") or "1"
    if not values.isdecimal():
        raise ValueError(f"its header gives '{values[:40]}' values a voxel")
    claimed = math.prod(map(int, sizes)) * _TYPES[kind.removesuffix("_ARRAY")] * int(values)
    data = fields.get("data file", fields.get("datafile", "")) if nrrd else fields.get("ElementDataFile", "")
    there = _data_file(path, "" if data.upper() == "LOCAL" else data).stat().st_size
    if nrrd:
        packed = fields.get("encoding", "").lower() not in ("raw", "")
    else:
        packed = fields.get("CompressedData", "").lower() == "true"
    if claimed > there * (MOST_PACKED if packed else 1):
        raise ValueError(
            f"its header requires {claimed} bytes of voxels, it has {there}{' packed' if packed else ''}: truncated"
        )


def _data_file(path: Path, name: str) -> Path:
    """Return the file of the voxels, which must be in the header's folder."""
    if not name:
        return path
    if Path(name).name != name or "%" in name or name.upper().startswith("LIST") or not (path.parent / name).is_file():
        raise ValueError(f"its data file '{name[:80]}' is missing, in another folder, or one of several")
    return path.parent / name


def _nrrd_fields(path: Path) -> dict[str, str]:
    """Return the fields of an NRRD header, which ends with an empty line."""
    with path.open("rb") as file:
        lines = file.read(_HEADER).split(b"\n")
    if not lines[0].startswith(b"NRRD"):
        raise ValueError("it does not begin with NRRD")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            break
        key, colon, value = text.partition(":")
        if colon and not text.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields
