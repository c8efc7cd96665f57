"""The store: all prepared cases of a data set, read by memory map from any number of processes.

A finished store is a folder with `index.json` and, for each case, `<n>.image.npy` (float16, [0, 1], (x, y, z), or
(channels, x, y, z) if there are several), `<n>.label.npy` (uint8, (x, y, z)) if it has a label, and `<n>.json`; <n> is
a hash of the case's id, which may contain any characters. A case's JSON is written last, so that an interrupted
preparation resumes after its finished cases. A case that cannot be used leaves `<n>.skipped` with the reason; the index
lists it as skipped.

The index ends with a digest of itself and holds one of each array, which is checked when a process first maps the
array: a job pays for the cases that it reads, not for the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import Shape, canonical_json
from sg_bench.data.fingerprint import fingerprint
from sg_bench.data.prepare import PreparedCase, VoxelCandidate
from sg_bench.data.sources.base import Case
from sg_bench.digests import content_digest, npy_digest, unsealed, unsealed_digest, write_sealed
from sg_bench.errors import DamagedError, DataError, UsageError
from sg_bench.workspace import (
    atomic_file,
    file_digest,
    file_state,
    read_bytes,
    read_json,
    steady,
    sync_tree,
    write_atomic,
)

ArrayKind = Literal["image", "label"]

SCHEMA = 2
_OPEN_MAPS = 256
"""Memory maps kept open by one store: each uses a file descriptor, often limited to 1024 per process."""
_MOST_NOTES = 10
_DTYPES: dict[ArrayKind, np.dtype[Any]] = {"image": np.dtype(np.float16), "label": np.dtype(np.uint8)}


@dataclass(frozen=True)
class StoredCase:
    """The index entry of one case."""

    id: str
    patient: str
    shape: Shape
    spacing: tuple[float, float, float]
    """mm along the three array axes."""
    affine: NDArray[np.float64] = field(compare=False)
    """4x4: voxel indices to world mm, RAS+."""
    labelled: bool
    candidates: tuple[VoxelCandidate, ...]
    group: str
    """The data set's own division, such as "test"; "" for none."""
    findings: tuple[int, ...]
    """1 or 0 for each of the source's findings."""
    source_digest: str | None
    """`files_digest` of its source files; None for a generated case."""
    image_digest: str
    """`content_digest` of the image."""
    label_digest: str | None
    fingerprint: str = ""
    """Perceptual fingerprint of the image, or of its first channel; "" if it has none."""
    channels: int = 1
    attributes: Mapping[str, str | float] = field(default_factory=dict, hash=False)
    """Columns of the data set's table, as in `Case.attributes`."""
    notes: tuple[str, ...] = ()
    """What is doubtful about it, such as a constant image; one line each."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape of the array: (x, y, z), or (channels, x, y, z) if there are several."""
        return self.shape if self.channels == 1 else (self.channels, *self.shape)


@dataclass(frozen=True)
class SkippedCase:
    """A case that could not be prepared; it is still part of the split, so that no other case changes its part."""

    id: str
    patient: str
    group: str
    findings: tuple[int, ...]
    why: str
    """The reason in one line; paths are relative to the data set's folder."""
    attributes: Mapping[str, str | float] = field(default_factory=dict, hash=False)


class Store:
    """A finished store, opened for reading; unpickling in another process reopens it."""

    def __init__(
        self,
        path: Path,
        recipe: Any,
        cases: list[StoredCase],
        skipped: Sequence[SkippedCase] = (),
        digest: str = "",
    ) -> None:
        self.path = path
        self.recipe = recipe
        self.cases = cases
        self.skipped = list(skipped)
        self.digest = digest
        """SHA-256 (64 hex digits) of the index, which holds the digests of all arrays."""
        self._by_id = {case.id: case for case in cases}
        self._map = lru_cache(maxsize=_OPEN_MAPS)(self._opened)

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open the store in folder `path`; arrays are mapped on first access.

        Raises:
            DamagedError: there is no finished store, or its index is corrupt or of another schema.
        """
        path = Path(path)
        return cls(path, *_index(path, file_state(path / "index.json")))

    @property
    def ids(self) -> list[str]:
        """The ids of all cases, sorted."""
        return [case.id for case in self.cases]

    def image(self, case_id: str) -> np.memmap[Any, np.dtype[np.float16]]:
        """Return the read-only image of a case, float16 in [0, 1]: (x, y, z), or (channels, x, y, z) if several.

        Raises:
            DamagedError: the array is missing, or its content is not what the index says.
            UsageError: no such case.
        """
        return self._map(case_id, "image")

    def label(self, case_id: str) -> np.memmap[Any, np.dtype[np.uint8]]:
        """Return the read-only label of a case: (x, y, z), uint8 class numbers.

        Raises:
            DataError: the case has no label.
            DamagedError: the array is missing, or its content is not what the index says.
            UsageError: no such case.
        """
        if not self[case_id].labelled:
            raise DataError(f"{self.path}: case '{case_id}' has no label", hint="Ask only labelled cases for one")
        return self._map(case_id, "label")

    def __getitem__(self, case_id: str) -> StoredCase:
        if case_id not in self._by_id:
            some = ", ".join(self.ids[:5])
            raise UsageError(f"{self.path}: no case '{case_id}'", hint=f"It holds {len(self)} cases: {some}, ...")
        return self._by_id[case_id]

    def __contains__(self, case_id: object) -> bool:
        return case_id in self._by_id

    def __len__(self) -> int:
        return len(self.cases)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store.open, (self.path,)

    def _opened(self, case_id: str, kind: ArrayKind) -> np.memmap[Any, Any]:
        return _mapped(self.path, self[case_id], kind)


def write_case(folder: Path, case: Case, prepared: PreparedCase, *, notes: Sequence[str] = ()) -> None:
    """Write one case to the store in `folder`, with what is doubtful about it; its JSON, last, marks it as complete.

    The files are not synchronised with the disk, which would take as long as the rest of a film: `finish` does so once.
    A machine that stops before may leave damaged files, which `has_case` notices by their digests.

    Raises:
        ValueError: the image is not float16, (x, y, z) or (channels, x, y, z) with at least two channels, or the label
            not uint8, (x, y, z), of the same grid.
    """
    arrays: dict[ArrayKind, NDArray[Any]] = {"image": prepared.image}
    if prepared.label is not None:
        arrays["label"] = prepared.label
    channels, shape = _grid(prepared.image)
    for kind, array in arrays.items():
        wanted = prepared.image.shape if kind == "image" else shape
        if array.dtype != _DTYPES[kind] or array.shape != wanted or len(shape) != 3 or channels < 1:
            raise ValueError(f"{kind} of '{case.id}' is {array.dtype} {array.shape}, not {_DTYPES[kind]} (x, y, z)")
        with atomic_file(_path(folder, case.id, f"{kind}.npy"), sync=False) as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    with atomic_file(_path(folder, case.id, "json"), sync=False) as file:
        file.write(canonical_json({**_entry(case, prepared), **_with_notes(notes)}).encode())
    _path(folder, case.id, "skipped").unlink(missing_ok=True)


def skip_case(folder: Path, case: Case, why: str) -> None:
    """Record that a case could not be prepared, and why; `write_case` removes the record."""
    note = SkippedCase(case.id, case.patient, case.group, case.findings, why, case.attributes)
    write_atomic(_path(folder, case.id, "skipped"), canonical_json(_skip_entry(note)))


def noted_skips(folder: Path) -> dict[str, SkippedCase]:
    """Return the skipped cases of `folder` by id, sorted; unreadable records are ignored."""
    notes = {}
    for path in folder.glob("*.skipped"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = _skipped(read_json(path))
            notes[note.id] = note
    return dict(sorted(notes.items()))


def skipped_cases(path: Path) -> list[SkippedCase]:
    """Return the skipped cases of the finished store in `path`, from its index; [] if there is no store."""
    if not (path / "index.json").is_file():
        return []
    with _reading_index(path) as raw:
        return [_skipped(entry) for entry in unsealed(raw)["skipped"]]


def doubtful_cases(path: Path) -> list[str]:
    """Return one line for each case of the finished store in `path` with notes, at most 10; [] if there is no store."""
    if not (path / "index.json").is_file():
        return []
    lines = [f"{case.id}: {note}" for case in Store.open(path).cases for note in case.notes]
    return [*lines[:_MOST_NOTES], f"{len(lines) - _MOST_NOTES} more notes"] if len(lines) > _MOST_NOTES else lines


def has_case(folder: Path, case_id: str) -> bool:
    """Return whether `folder` holds this case complete, and not damaged or partly written by an interrupted process."""
    try:
        entry = _stored(read_json(_path(folder, case_id, "json")))
        for kind in _array_kinds(entry):
            _mapped(folder, entry, kind)
    except (OSError, ValueError, LookupError, TypeError, DataError):
        return False
    return entry.id == case_id


def damaged_files(folder: Path, case_id: str) -> list[str]:
    """Return the names of the files of a case that was complete, if it is no longer; [] for a partly written one."""
    paths = [_path(folder, case_id, ending) for ending in ("image.npy", "label.npy", "json")]
    if not paths[-1].is_file() or has_case(folder, case_id):
        return []
    return [path.name for path in paths if path.is_file()]


def finish(folder: Path, recipe: Any, case_ids: Iterable[str]) -> None:
    """Write `index.json` for the cases `case_ids`, and delete partly written files of interrupted processes.

    Cases recorded by `skip_case` are listed as skipped. A finished store may be finished again, after one of them could
    be prepared.

    Raises:
        DataError: a case is neither complete nor skipped, or all are skipped.
    """
    ids = sorted(set(case_ids))
    done = [case_id for case_id in ids if has_case(folder, case_id)]
    notes = noted_skips(folder)
    skipped = [note for id_, note in notes.items() if id_ in set(ids) - set(done)]
    missing = sorted(set(ids) - set(done) - notes.keys())
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(ids)} cases are not prepared, first '{missing[0]}'",
            hint="Run again: finished cases are kept",
        )
    if skipped and not done:
        first = f"{skipped[0].id}: {skipped[0].why}".rstrip(".")
        raise DataError(f"none of {len(ids)} cases can be used, first {first}", hint="See sg-bench data check")
    for leftover in folder.glob(".*"):
        leftover.unlink()
    sync_tree(folder)
    cases = [read_json(_path(folder, case_id, "json")) for case_id in done]
    index = {"schema": SCHEMA, "recipe": recipe, "cases": cases, "skipped": [_skip_entry(note) for note in skipped]}
    write_sealed(folder / "index.json", index, indent=None)


def files_digest(files: Iterable[Path]) -> str:
    """Return one SHA-256 (64 hex digits) of the contents of `files`, in their order, regardless of their names."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()


def _path(folder: Path, case_id: str, ending: str) -> Path:
    name = hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder / f"{name}.{ending}"


def _entry(case: Case, prepared: PreparedCase) -> dict[str, Any]:
    files = case.files()
    channels, shape = _grid(prepared.image)
    entry = {
        "id": case.id,
        "patient": case.patient,
        "shape": list(shape),
        "spacing": list(prepared.spacing),
        "affine": prepared.affine.tolist(),
        "labelled": prepared.label is not None,
        "candidates": prepared.candidates,
        "group": case.group,
        "findings": case.findings,
        "source_digest": files_digest(files) if files else None,
        "image_digest": content_digest({"image": prepared.image}),
        "label_digest": None if prepared.label is None else content_digest({"label": prepared.label}),
        "fingerprint": fingerprint(prepared.image if channels == 1 else prepared.image[0], prepared.affine),
    }
    later = {"channels": channels} if channels > 1 else {}
    return {**entry, **later, **_with_attributes(case.attributes)}


def _grid(image: NDArray[Any]) -> tuple[int, tuple[int, ...]]:
    """Return the number of channels of an image, 0 where its only one has an axis of its own, and its grid."""
    if image.ndim == 4:
        return len(image) if len(image) > 1 else 0, image.shape[1:]
    return 1, image.shape


def _with_attributes(attributes: Mapping[str, str | float]) -> dict[str, Any]:
    """Return the entry of attributes; none at their default, as in stores from before there were any."""
    return {"attributes": dict(attributes)} if attributes else {}


def _with_notes(notes: Sequence[str]) -> dict[str, Any]:
    """Return the entry of notes; none where there are none, as in stores from before there were any."""
    return {"notes": list(notes)} if notes else {}


def _skip_entry(note: SkippedCase) -> dict[str, Any]:
    entry = asdict(note)
    return {**entry, **_with_attributes(entry.pop("attributes"))}


def _skipped(entry: dict[str, Any]) -> SkippedCase:
    return SkippedCase(**{**entry, "findings": tuple(entry["findings"])})


def _stored(entry: dict[str, Any]) -> StoredCase:
    shape, spacing, places = entry["shape"], entry["spacing"], entry["candidates"]
    converted = {
        "shape": (shape[0], shape[1], shape[2]),
        "spacing": (spacing[0], spacing[1], spacing[2]),
        "affine": np.asarray(entry["affine"], dtype=np.float64),
        "candidates": tuple(
            VoxelCandidate((x, y, z), found, mm, tuple(target)) for (x, y, z), found, mm, target in places
        ),
        "findings": tuple(entry["findings"]),
        "notes": tuple(entry.get("notes", ())),
    }
    return StoredCase(**{**entry, **converted})


@contextmanager
def _reading_index(path: Path) -> Iterator[bytes]:
    """Yield the content of a store's index; whatever is wrong with it is raised as a DamagedError."""
    file = path / "index.json"
    try:
        yield read_bytes(file)
    except FileNotFoundError:
        problem = f"{path}: no finished store here (index.json is missing)"
        raise DamagedError(problem, path=file) from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _damaged(file, error) from error


@lru_cache(maxsize=4)
def _index(path: Path, state: Any) -> tuple[Any, list[StoredCase], list[SkippedCase], str]:
    """Return a store's recipe, cases, skipped cases and digest; kept while the index's file has the same state."""
    with _reading_index(path) as raw:
        index = unsealed(raw)
        if index["schema"] != SCHEMA:
            raise ValueError(f"its schema is {index['schema']}, this version reads {SCHEMA}")
        skipped = [_skipped(entry) for entry in index["skipped"]]
        cases = [_stored(entry) for entry in index["cases"]]
        return index["recipe"], cases, skipped, unsealed_digest(raw)


def _array_kinds(case: StoredCase) -> tuple[ArrayKind, ...]:
    return ("image", "label") if case.labelled else ("image",)


def _mapped(folder: Path, case: StoredCase, kind: ArrayKind) -> np.memmap[Any, Any]:
    """Return an array of a case, after checking its content if this process has not done so since the file changed."""
    path = _path(folder, case.id, f"{kind}.npy")
    try:
        array = steady(np.load, path, mmap_mode="r", allow_pickle=False)
        shape = case.image_shape if kind == "image" else case.shape
        if array.shape != shape or array.dtype != _DTYPES[kind] or not isinstance(array, np.memmap):
            found, wanted = f"{array.dtype} {array.shape}", f"{_DTYPES[kind]} {shape}"
            raise ValueError(f"it holds {found}, not {wanted} as in the index")
        digest = case.image_digest if kind == "image" else case.label_digest
        if npy_digest(path, kind) != digest != npy_digest(path, None):
            raise ValueError("its content has another digest than in the index")
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise _damaged(path, error, case.id) from error
    return array


def _damaged(path: Path, cause: object, case_id: str | None = None) -> DamagedError:
    where = f"{path} (case '{case_id}')" if case_id else f"{path}"
    reason = "the file is missing" if isinstance(cause, FileNotFoundError) else " ".join(str(cause).split())
    return DamagedError(f"{where}: {reason or type(cause).__name__}", path=path)
