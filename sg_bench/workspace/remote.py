"""Results on storage that a URL names, and this node's copies of them.

The remote layout is that of a workspace, with one difference: the files of a folder `<namespace>/<key>/` are in a
folder of their own for each publication, and `<namespace>/<key>.json`, written last, lists them with sizes and digests.
So a result is whole or absent, also while two nodes publish the same one: the first list stays.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from sg_bench.errors import SgBenchError
from sg_bench.workspace.files import file_digest, replace_folder, restore_folder, write_atomic
from sg_bench.workspace.leases import lease
from sg_bench.workspace.locks import LEASES, LockedElsewhere, hold
from sg_bench.workspace.objects import ObjectClaims, Objects, ObjectState, in_parallel, shown_url

COPIES = "copies"
"""Folder of this node's notes on which of its files are copies of which remote ones."""
FETCHING = ".fetching"
"""Ending of a folder that is being fetched."""
PUBLISHING_ATTEMPTS = 3
DAMAGED = "damaged"
"""Folder of the workspace for what was set aside: `damaged/<namespace>/<name>`; nothing there is read again."""
FileList = dict[str, Any]
"""`files`: for each file of a result its `object`, `size` in bytes and `sha256`."""


class DamagedCopyError(Exception):
    """What is stored remotely of a result is incomplete or has another content than its list says."""


class Remote:
    """The remote side of a workspace.

    Args:
        url: of the workspace.
        root: folder of this node's copies.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.root = url, root
        self.objects = Objects(url)
        self._listings: dict[str, dict[str, ObjectState]] = {}

    @cached_property
    def shown(self) -> str:
        """Return the URL without parameters, for people."""
        return shown_url(self.url)

    def check(self) -> float:
        """Write, read and remove a small file; return the seconds that it took.

        Raises:
            SgBenchError: the storage cannot be used.
        """
        name, content, began = f".check-{uuid.uuid4().hex[:12]}", uuid.uuid4().bytes, time.perf_counter()
        hint = "Check the bucket's name, AWS_ENDPOINT_URL, and that these credentials may read, write and delete there"
        try:
            self.objects.upload(name, content)
            same = self.objects.read(name) == content
            self.objects.remove(name)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise SgBenchError(f"{self.shown}: files cannot be written there: {reason}", hint=hint) from error
        if not same:
            raise SgBenchError(f"{self.shown}: what was written is not what was read", hint=hint)
        return time.perf_counter() - began

    @contextmanager
    def lock(self, key: str, *, shared: bool, wait: bool) -> Iterator[None]:
        """Hold the lock of `key` on all nodes, as `Workspace.lock` does.

        Raises:
            LockedElsewhere: another node holds it, and `wait` is False.
        """
        with lease(ObjectClaims(self.objects, f"{LEASES}/{key}"), shared=shared, wait=wait) as held:
            if not held:
                raise LockedElsewhere(key)
            yield

    # Which results there are.

    def listing(self, namespace: str) -> dict[str, ObjectState]:
        """Return the files of a namespace by name, without those in folders; asked once, until `refresh`."""
        if namespace not in self._listings:
            self._listings[namespace] = self.objects.files(namespace)
        return self._listings[namespace]

    def refresh(self) -> None:
        """Forget the listings: another node may have published something."""
        self._listings.clear()

    def has(self, namespace: str, key: str) -> bool:
        """Return whether the result `key` is published, by the listing of its namespace."""
        return f"{key}.json" in self.listing(namespace)

    # Results that are folders.

    def is_copied(self, namespace: str, key: str) -> bool:
        """Return whether this node has a whole copy of a result, or has published its own."""
        manifest = self._copied(namespace, key)
        folder = self.root / namespace / key
        return manifest is not None and all(
            (folder / name).is_file() and (folder / name).stat().st_size == file["size"]
            for name, file in manifest["files"].items()
        )

    def fetch(self, namespace: str, key: str) -> bool:
        """Copy a result to this node, unless it is here; one process a node does so. Return whether it is published.

        Raises:
            DamagedCopyError: what is stored is not what its list says.
        """
        if self.is_copied(namespace, key):
            return True
        with hold(self.root, f"fetch-{namespace}-{key}", shared=False, wait=True):
            if self.is_copied(namespace, key):
                return True
            for attempt in range(PUBLISHING_ATTEMPTS):
                raw = self._manifest(namespace, key)
                if raw is None:
                    return False
                try:
                    self._fetch(namespace, key, raw)
                except FileNotFoundError as error:  # replaced meanwhile, or incomplete
                    if attempt == PUBLISHING_ATTEMPTS - 1:
                        raise DamagedCopyError(f"{self.shown}/{namespace}/{key}: a file is missing") from error
                else:
                    return True
        return False

    def fetch_file(self, namespace: str, key: str, name: str) -> bool:
        """Copy one file of a result, whose other files are not needed; return whether it is there now."""
        path = self.root / namespace / key / name
        if path.is_file():
            return True
        raw = self._manifest(namespace, key)
        try:
            file = parsed_manifest(raw)["files"].get(name) if raw else None
            if file is None:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            self._download(file, path)
        except (DamagedCopyError, FileNotFoundError):  # whoever needs all of it sets it aside
            return False
        return True

    def size(self, namespace: str, key: str) -> int:
        """Return the bytes of a published result, 0 if there is none that is whole."""
        raw = self._manifest(namespace, key)
        with suppress(DamagedCopyError):
            return sum(file["size"] for file in parsed_manifest(raw)["files"].values()) if raw else 0
        return 0

    def publish(self, namespace: str, key: str, last: str) -> None:
        """Store a result of this node, its list last; if another node was first, take a copy of that instead.

        Args:
            namespace: of the result.
            key: of the result.
            last: name of the file that changes whenever the result does.
        """
        folder = self.root / namespace / key
        raw, known = self._manifest(namespace, key), self._copied(namespace, key)
        if raw is not None:
            current = parsed_manifest(raw)
            if known != current:
                self.forget(namespace, key)
                self.fetch(namespace, key)
                return
            if current["files"].get(last, {}).get("sha256") == file_digest(folder / last):
                return
        place = f"{namespace}/{key}/{uuid.uuid4().hex[:12]}"
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        files = dict(
            zip(names, in_parallel(lambda name: self._upload(folder / name, f"{place}/{name}"), names), strict=True)
        )
        written = manifest_text({"files": files})
        if raw is None:
            if not self.objects.create(f"{namespace}/{key}.json", written):
                self._remove({"files": files})
                self.forget(namespace, key)
                self.fetch(namespace, key)
                return
        else:
            self.objects.upload(f"{namespace}/{key}.json", written)
            self._remove(parsed_manifest(raw))
        self._note(namespace, key, written)
        self._listings.pop(namespace, None)

    def set_aside(self, namespace: str, key: str) -> None:
        """Move the list of a damaged result to `damaged/`, so that it counts as not computed."""
        self.forget(namespace, key)
        with suppress(FileNotFoundError):
            self.objects.move(f"{namespace}/{key}.json", f"{DAMAGED}/{namespace}/{key}.{uuid.uuid4().hex[:8]}.json")
        self._listings.pop(namespace, None)

    def forget(self, namespace: str, key: str) -> None:
        """Drop the note that this node has a copy."""
        self._note_path(namespace, key).unlink(missing_ok=True)

    # Files.

    def push(self, namespace: str, name: str, *, to: str = "") -> None:
        """Store a file of this node, under the name `to` if that is given."""
        path = self.root / namespace / name
        self.objects.upload(f"{namespace}/{to or name}", path)
        self._listings.get(namespace, {})[to or name] = ObjectState(path.stat().st_size, 0)

    def pull(self, namespace: str, name: str, *, of: str = "") -> bool:
        """Copy a file to this node, stored under the name `of` if that is given; return whether it is stored."""
        path = self.root / namespace / name
        try:
            self.objects.download(f"{namespace}/{of or name}", path)
        except FileNotFoundError:
            return False
        return True

    def pull_all(self, namespace: str, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Copy the files of a namespace that this node lacks, all at once."""
        folder = self.root / namespace
        lacking = [name for name in self.listing(namespace) if wanted(name) and not (folder / name).is_file()]
        in_parallel(lambda name: self.pull(namespace, name), lacking)

    @contextmanager
    def pushed(self, path: Path, name: str, seconds: float) -> Iterator[None]:
        """Store a file of this node under `name` whenever it has changed, at most once in so many seconds."""
        ended, before = threading.Event(), _state(path)

        def work() -> None:
            nonlocal before
            while not ended.wait(seconds):
                now = _state(path)
                if now is not None and now != before:
                    try:
                        self.objects.upload(name, path.read_bytes())
                        before = now
                    except OSError:
                        continue  # tried again with the next

        thread = threading.Thread(target=work, daemon=True, name=f"push {name}")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _manifest(self, namespace: str, key: str) -> bytes | None:
        try:
            return self.objects.read(f"{namespace}/{key}.json")
        except FileNotFoundError:
            return None

    def _fetch(self, namespace: str, key: str, raw: bytes) -> None:
        files, final = parsed_manifest(raw)["files"], self.root / namespace / key
        work = final.with_name(f"{key}{FETCHING}")
        for path in list(work.rglob("*")) if work.exists() else []:
            if path.is_file() and path.relative_to(work).as_posix() not in files:
                path.unlink()
        work.mkdir(parents=True, exist_ok=True)
        in_parallel(lambda name: self._download(files[name], work / name), files)
        restore_folder(final)
        replace_folder(work, final)
        self._note(namespace, key, raw)

    def _download(self, file: dict[str, Any], path: Path) -> None:
        """Copy a file, unless it is there from an interrupted fetch."""
        if path.is_file() and path.stat().st_size == file["size"] and file_digest(path) == file["sha256"]:
            return
        if self.objects.download(file["object"], path) != file["sha256"]:
            path.unlink()
            raise DamagedCopyError(f"{self.shown}/{file['object']}: its content has another digest than its list says")

    def _upload(self, path: Path, name: str) -> dict[str, Any]:
        digest = self.objects.upload(name, path)
        return {"object": name, "size": path.stat().st_size, "sha256": digest}

    def _remove(self, manifest: FileList) -> None:
        in_parallel(self.objects.remove, [file["object"] for file in manifest["files"].values()])

    def _copied(self, namespace: str, key: str) -> FileList | None:
        try:
            return parsed_manifest(self._note_path(namespace, key).read_bytes())
        except (FileNotFoundError, DamagedCopyError):
            return None

    def _note(self, namespace: str, key: str, raw: bytes) -> None:
        write_atomic(self._note_path(namespace, key), raw)

    def _note_path(self, namespace: str, key: str) -> Path:
        return self.root / COPIES / namespace / f"{key}.json"


def manifest_text(manifest: FileList) -> bytes:
    """Return the text of a result's list of files, which ends with its own digest."""
    text = json.dumps(manifest, indent=1, sort_keys=True)
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def parsed_manifest(raw: bytes) -> FileList:
    """Return a result's list of files.

    Raises:
        DamagedCopyError: the text is none.
    """
    text, _, digest = raw.strip().rpartition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise DamagedCopyError("a list of files is damaged")
    manifest: FileList = json.loads(text)
    return manifest


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
