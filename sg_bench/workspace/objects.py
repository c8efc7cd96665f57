"""Files on storage that a URL names: an object store, or another file system that pyarrow or fsspec opens."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

from sg_bench.errors import SgBenchError, UsageError
from sg_bench.workspace.files import atomic_file
from sg_bench.workspace.leases import FolderClaims

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")
R = TypeVar("R")
CONNECTIONS = 32
"""Files that are read or written at once."""
CHUNK = 1 << 22
"""Bytes of a file that are in memory at once."""
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
SECRET = re.compile(r"key|secret|token|password|credential|signature", re.IGNORECASE)
"""What the name of a URL's parameter must not contain."""
REFUSED = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""Errors of S3 when an object exists that was to be created."""
UNCONDITIONAL = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
"""Errors of stores that cannot create objects exclusively."""


class ObjectState(NamedTuple):
    """What changes when an object is replaced: size in bytes, and time in ns."""

    size: int
    time: int


def is_url(text: object) -> bool:
    """Return whether a location is a URL, and not the path of a folder."""
    return bool(URL.match(str(text)))


def checked_url(text: str) -> str:
    """Return a URL without a slash at its end.

    Raises:
        UsageError: it holds a secret, or names no place.
    """
    parts = urlsplit(text)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if "@" in parts.netloc or any(SECRET.search(name) for name in names):
        raise UsageError(
            f"{shown_url(text)}: a URL must hold no user, password or key, as it is printed and passed on",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, instead",
        )
    if not (parts.netloc or parts.path.strip("/")):
        raise UsageError(f"{text}: names no bucket or folder", hint="Write it as s3://bucket/prefix")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}{query}"


def shown_url(text: str) -> str:
    """Return a URL as it is printed: without user, password and parameters."""
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def local_folder(url: str) -> Path:
    """Return this node's folder for what is at a URL: in SG_BENCH_LOCAL, else in the user's cache folder."""
    chosen, cache_folder = os.environ.get("SG_BENCH_LOCAL"), os.environ.get("XDG_CACHE_HOME")
    parent = Path(chosen) if chosen else Path(cache_folder or Path.home() / ".cache") / "sg-bench"
    return parent.resolve() / hashlib.sha256(url.encode()).hexdigest()[:16]


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the results of a function for some items, computed in threads, in their order."""
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(CONNECTIONS, len(items))) as threads:
        return list(threads.map(function, items))


class Objects:
    """The files under a URL, by their paths relative to it.

    Every file appears with its complete content or not at all.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def system(self) -> FileSystem:
        """Return the file system of the URL, whose root is the URL's folder.

        Raises:
            UsageError: nothing can open such a URL.
        """
        return _opened(self.url)

    def files(self, folder: str, *, below: bool = False) -> dict[str, ObjectState]:
        """Return the files in a folder by name; with `below` those in folders in it too, by path."""
        from pyarrow.fs import FileSelector, FileType

        found = self.system.get_file_info(FileSelector(folder, recursive=below, allow_not_found=True))
        start = f"{folder}/" if folder else ""
        return {
            each.path.removeprefix(start): ObjectState(each.size or 0, each.mtime_ns or 0)
            for each in found
            if each.type == FileType.File
        }

    def state(self, name: str) -> ObjectState | None:
        """Return the size and time of a file, None if there is none."""
        from pyarrow.fs import FileType

        found = self.system.get_file_info(name)
        return ObjectState(found.size or 0, found.mtime_ns or 0) if found.type == FileType.File else None

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        with self.system.open_input_stream(name) as file:
            return bytes(file.read())

    def download(self, name: str, path: Path) -> str:
        """Copy a file to `path` and return its SHA-256.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        digest = hashlib.sha256()
        with self.system.open_input_stream(name) as source, atomic_file(path, sync=False) as target:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    def upload(self, name: str, content: bytes | Path) -> str:
        """Write a file, replacing what is there, and return the SHA-256 of what was written."""
        digest, folder = hashlib.sha256(), self._folder
        with atomic_file(folder / name, sync=False) if folder else self.system.open_output_stream(name) as target:
            for chunk in _chunks(content):
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one of that name; return whether this call has written it.

        Where `is_exclusive` is False, two that create it at once may both find that they have.
        """
        if self._folder:
            path = self._folder / name
            return FolderClaims(path.parent).create(path.name, content)
        if self.is_exclusive and (done := _created(self.url, name, content)) is not None:
            return done
        if self.state(name) is not None:
            return False
        self.upload(name, content)
        return self.read(name) == content

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        try:
            self.system.delete_file(name)
        except FileNotFoundError:
            return

    def move(self, name: str, target: str) -> None:
        """Rename a file; what is at `target` is replaced.

        Raises:
            FileNotFoundError: it is not there.
        """
        self.upload(target, self.read(name))
        self.remove(name)

    @cached_property
    def is_exclusive(self) -> bool:
        """Return whether a file can be created by one only, so that locks hold: tried once a process on S3.

        Raises:
            OSError: the storage cannot be reached.
            SgBenchError: it cannot be used.
        """
        return self._folder is not None or (self._client is not None and _excludes(self.url))

    @cached_property
    def _folder(self) -> Path | None:
        """The folder of a file:// URL."""
        parts = urlsplit(self.url)
        return Path(parts.path) if parts.scheme == "file" else None

    @cached_property
    def _client(self) -> Any:
        """A client of S3 that creates objects exclusively, which pyarrow's does not; None without boto3."""
        return _s3_client(self.url) if urlsplit(self.url).scheme == "s3" else None


class ObjectClaims:
    """Claims of a lock as objects."""

    def __init__(self, objects: Objects, folder: str) -> None:
        self.objects, self.folder, self.place = objects, folder, f"{shown_url(objects.url)}/{folder}"

    def names(self) -> list[str]:
        """Return the names of all claims."""
        return [name for name in self.objects.files(self.folder) if not name.startswith(".")]

    def create(self, name: str, content: bytes) -> bool:
        """Create a claim, unless there is one of that name; return whether this call has created it."""
        return self.objects.create(f"{self.folder}/{name}", content)

    def read(self, name: str) -> bytes | None:
        """Return the content of a claim, None if there is none."""
        try:
            return self.objects.read(f"{self.folder}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a claim in one step."""
        self.objects.upload(f"{self.folder}/{name}", content)

    def remove(self, name: str) -> None:
        """Remove a claim; it may be gone already."""
        self.objects.remove(f"{self.folder}/{name}")


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    """Yield the parts of a content, or of a file's."""
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


@cache
def _opened(url: str) -> FileSystem:
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem, SubTreeFileSystem

    try:
        try:
            system, path = FileSystem.from_uri(url)
        except ArrowInvalid as error:
            if "Unrecognized filesystem" not in str(error):
                raise
            import fsspec

            opened, path = fsspec.core.url_to_fs(url)
            system = PyFileSystem(FSSpecHandler(opened))
    except (ArrowInvalid, ImportError, ValueError) as error:
        raise UsageError(
            f"{shown_url(url)}: {' '.join(str(error).split())}",
            hint="Name a folder, or a URL that pyarrow or fsspec opens",
        ) from error
    return SubTreeFileSystem(path, system)


@cache
def _s3_client(url: str) -> Any:
    try:
        import boto3
    except ImportError:
        return None
    given = dict(parse_qsl(urlsplit(url).query))
    endpoint = given.get("endpoint_override", "")
    if endpoint and "://" not in endpoint:
        endpoint = f"{given.get('scheme', 'https')}://{endpoint}"
    return boto3.client("s3", endpoint_url=endpoint or None, region_name=given.get("region"))


def _created(url: str, name: str, content: bytes) -> bool | None:
    """Return whether an object of S3 was created, None if the store cannot do so exclusively."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _s3_client(url).put_object(**_address(url, name), Body=content, IfNoneMatch="*")
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in REFUSED:
            return False
        if code in UNCONDITIONAL:
            return None
        raise SgBenchError(f"{shown_url(url)}: {error}") from error
    except BotoCoreError as error:
        raise OSError(f"{shown_url(url)}: {error}") from error
    return True


@cache
def _excludes(url: str) -> bool:
    """Return whether S3 refuses the second of two that create one object: some stores ignore that they should."""
    name = f".check-{uuid.uuid4().hex[:12]}"
    answers = [_created(url, name, b"") for _ in range(2)]
    _s3_client(url).delete_object(**_address(url, name))
    return answers == [True, False]


def _address(url: str, name: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {"Bucket": parts.netloc, "Key": f"{parts.path.strip('/')}/{name}".lstrip("/")}
