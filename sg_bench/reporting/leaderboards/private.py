"""Finds what would identify a person or a machine in the files of a submission: paths, hosts, users and names."""

from __future__ import annotations

import csv
import getpass
import io
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sg_bench.workspace import parsed_json

PATTERNS: Final = {
    "a path": re.compile(
        r"(?<![\w.:/<-])/(?:[\w.+@-]+/)+[\w.+@-]*|(?<![\w/])~\w*/|\b[A-Za-z]:\\|\\\\\w+\\|\bfile://", re.ASCII
    ),
    "an address of storage": re.compile(r"\b(?:s3|gs|gcs|az|abfs|hdfs|ssh|sftp|smb|nfs)://", re.IGNORECASE),
    "an address of e-mail": re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}"),
    "the name of a host": re.compile(
        r"\b[\w-]+\.(?:local|lan|internal|intranet|corp)\b"
        r"|(?<![\d.])(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}(?![\d.])",
        re.IGNORECASE,
    ),
    "a person's name as DICOM writes it": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]*"),
}
ANYBODY: Final = frozenset({"root", "user", "admin", "ubuntu", "debian", "runner", "nobody", "localhost", "unknown"})
"""Names of users and hosts that identify nobody."""
MAX_FINDINGS: Final = 20


@dataclass(frozen=True)
class PrivateText:
    """A text that must not be published, and where it is."""

    file: str
    field: str
    """Such as "recipe.store.source" of JSON, or "case, row 3" of a table."""
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}, {self.field}: {self.what} ({self.text})"


def own_names() -> dict[str, str]:
    """Return the names of this machine and its user, each with what it is."""
    found: dict[str, str] = {}
    with suppress(OSError):
        host = socket.gethostname()
        found |= {host: "this host's name", host.partition(".")[0]: "this host's name"}
    with suppress(OSError, KeyError, ImportError):
        user = getpass.getuser()
        found[user] = "this user's name"
        import pwd

        full = pwd.getpwnam(user).pw_gecos.partition(",")[0].strip()
        found |= {full: "this user's full name"} if " " in full else {}
    return {name: what for name, what in found.items() if len(name) > 2 and name.lower() not in ANYBODY}


def private_texts(
    files: Mapping[str, bytes], names: Mapping[str, str], allowed: Iterable[str] = ()
) -> list[PrivateText]:
    """Return what in some files identifies a person or machine, at most `MAX_FINDINGS` of them.

    Args:
        files: content by name, JSON, CSV or Parquet.
        names: further texts to find as whole words, each with what it is.
        allowed: texts that are harmless.

    Raises:
        ValueError: a file cannot be read as what its name says.
    """
    words = {re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE): what for name, what in names.items()}
    patterns = [(what, pattern) for what, pattern in PATTERNS.items()] + [(what, each) for each, what in words.items()]
    harmless, found = set(allowed), dict[tuple[str, str], PrivateText]()
    for file, content in files.items():
        for field, text in _texts(file, content):
            for what, pattern in patterns:
                match = pattern.search(text)
                if match and match[0] not in harmless and text not in harmless:
                    found.setdefault((match[0], what), PrivateText(file, field, what, match[0]))
        if len(found) >= MAX_FINDINGS:
            break
    return list(found.values())[:MAX_FINDINGS]


def _texts(file: str, content: bytes) -> Iterator[tuple[str, str]]:
    if file.endswith(".json"):
        yield from _of_json(parsed_json(content), "")
    elif file.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(content.decode())))
        heads = rows[0] if rows else []
        for number, row in enumerate(rows):
            for place, text in enumerate(row):
                yield f"{heads[place] if number and place < len(heads) else 'heading'}, row {number}", text
    elif file.endswith(".parquet"):
        yield from _of_parquet(content)
    else:
        raise ValueError(f"{file} is neither JSON nor CSV nor Parquet")


def _of_json(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            inner = f"{place}.{name}" if place else name
            yield inner, name
            yield from _of_json(each, inner)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _of_json(each, f"{place}[{number}]")
    elif isinstance(value, str):
        yield place, value


def _of_parquet(content: bytes) -> Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    for key, value in (table.schema.metadata or {}).items():
        name = key.decode("utf-8", "replace")
        yield f"metadata {name}", f"{name} {value.decode('utf-8', 'replace')}"
    for column in table.column_names:
        yield "heading", column
        values = table[column]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            for row, text in enumerate(values.to_pylist()):
                if text is not None:
                    yield f"{column}, row {row}", text
