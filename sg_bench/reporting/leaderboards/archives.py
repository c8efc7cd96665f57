"""A submission as one archive: written with the same bytes for the same files, read without trusting it."""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sg_bench.errors import DataError
from sg_bench.reporting.leaderboards.manifest import MANIFEST

MEMBER: Final = re.compile(
    r"manifest\.json|claims\.json|tables/scores\.csv"
    r"|cells/[0-9a-f]{64}\.(?:json|(?:cases|curves)-[0-9a-f]{12}\.parquet)",
    re.ASCII,
)
"""The files that a submission may have; a name is compared as a whole, so none leaves the folder."""
MAX_FILES: Final = 100_000
MAX_FILE: Final = 64 * 2**20
"""Bytes of one file."""
MAX_JSON: Final = 8 * 2**20
MAX_TOTAL: Final = 2 * 2**30
TIME: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = stat.S_IFREG | 0o644


def archive_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of files by name: manifest first, then in alphabetical order, all of one time and mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files, key=lambda each: (each != MANIFEST, each)):
            info = zipfile.ZipInfo(name, TIME)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
            info.external_attr, info.create_system = _MODE << 16, 3
            archive.writestr(info, files[name])
    return buffer.getvalue()


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name. Nothing is written, and only names in `MEMBER` are read.

    Raises:
        DataError: it is no archive, is damaged, or holds a link, another file, or more than a submission may.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            left, files = MAX_TOTAL, dict[str, bytes]()
            for info in members:
                files[info.filename] = _read(path, archive, info, left)
                left -= len(files[info.filename])
            return files
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} is no archive of a submission, or damaged: {error}", hint=_HINT) from error


def check_sizes(path: Path, sizes: Mapping[str, int]) -> None:
    """Refuse files that a submission may not have, or that are too many or too large.

    Raises:
        DataError: names the file.
    """
    if len(sizes) > MAX_FILES:
        raise DataError(f"{path} holds {len(sizes)} files, more than {MAX_FILES}", hint=_HINT)
    for name, size in sizes.items():
        if not MEMBER.fullmatch(name):
            raise DataError(f"{path} holds {name[:100]!r}, which no submission has", hint=_HINT)
        most = MAX_JSON if name.endswith(".json") else MAX_FILE
        if size > most:
            raise DataError(f"{path}: {name} has {size} bytes, more than {most}", hint=_HINT)
    if sum(sizes.values()) > MAX_TOTAL:
        raise DataError(f"{path} holds more than {MAX_TOTAL} bytes", hint=_HINT)


_HINT: Final = "Have it packed again with sg-bench submit"


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in members]
    if len(names) != len(set(names)):
        raise DataError(f"{path} holds a file twice", hint=_HINT)
    for info in members:
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or info.is_dir():
            raise DataError(f"{path}: {info.filename[:100]!r} is a link or no file", hint=_HINT)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise DataError(f"{path}: {info.filename[:100]!r} is encrypted, or packed in an unusual way", hint=_HINT)
    check_sizes(path, {info.filename: info.file_size for info in members})


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: int) -> bytes:
    """Return a member, never more than its header states, whatever its stream unpacks to."""
    most = min(info.file_size, left)
    with archive.open(info) as file:
        content = file.read(most + 1)
    if len(content) > most or len(content) != info.file_size:
        raise DataError(f"{path}: {info.filename} is not as large as it states", hint=_HINT)
    return content
