"""The patterns on disk: one memory-mapped array of cubes, and an index of where each was cut."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from sg_bench.config import Shape
from sg_bench.data.cubes import resized
from sg_bench.data.sampling import VolumeArray
from sg_bench.digests import npy_digest, read_sealed, write_sealed
from sg_bench.discovery.patterns import Reference, Window, cut_window
from sg_bench.workspace import sync_tree, write_json

CUBES, INDEX = "cubes.npy", "index.json"


def write_patterns(
    folder: Path,
    references: Sequence[Reference],
    windows: Sequence[Window],
    volumes: Callable[[str], VolumeArray],
    cube: Shape,
) -> None:
    """Cut all windows into `folder`/cubes.npy, (n, *cube) float16 in [0, 1], and describe them in index.json.

    Row i of the array is window i of the index; volumes are read once each. The index has the digest of the array.

    Raises:
        OSError: the disk is full.
    """
    create_patterns(folder, references, windows, cube)
    writer = PatternWriter(folder)
    writer.cut(writer.ids, volumes)
    finish_patterns(folder)


def create_patterns(folder: Path, references: Sequence[Reference], windows: Sequence[Window], cube: Shape) -> None:
    """Write the index of patterns, and an array without content for a `PatternWriter` to fill."""
    shape = (len(windows), *cube)
    try:
        np.lib.format.open_memmap(folder / CUBES, mode="w+", dtype=np.float16, shape=shape).flush()
    except OSError:  # a full disk
        (folder / CUBES).unlink(missing_ok=True)
        raise
    sync_tree(folder)
    index = {"schema": 1, "references": [vars(r) for r in references], "windows": [vars(w) for w in windows]}
    write_json(folder / INDEX, index)


def finish_patterns(folder: Path) -> None:
    """Add the digest of the array, whose windows are all cut, to the index of patterns."""
    cubes = npy_digest(folder / CUBES, "cubes")
    write_sealed(folder / INDEX, {**read_sealed(folder / INDEX), "schema": 2, "cubes": cubes})


class PatternWriter:
    """Cuts the windows of some patients at a time; any number of processes may do so in one folder.

    Args:
        folder: of `create_patterns`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CUBES
        cubes = np.load(self.path, mmap_mode="r", allow_pickle=False)
        self.cube, self.first = cubes.shape[1:], cubes.offset
        windows = read_sealed(folder / INDEX)["windows"]
        self.windows = [Window(**{**w, "start": tuple(w["start"]), "size": tuple(w["size"])}) for w in windows]
        self.rows: dict[str, list[int]] = {}
        for row, window in enumerate(self.windows):
            self.rows.setdefault(window.id, []).append(row)

    @property
    def ids(self) -> list[str]:
        """Return the ids of all volumes that hold a window."""
        return list(self.rows)

    def cut(self, ids: Iterable[str], volumes: Callable[[str], VolumeArray]) -> None:
        """Cut the windows of `ids`, and return when they are on the disk; volumes are read once each."""
        with self.path.open("r+b") as file:
            for id_ in ids:
                if rows := self.rows.get(id_):
                    volume = volumes(id_)
                    cubes = [resized(cut_window(volume, self.windows[row]), self.cube, np.float16) for row in rows]
                    self._write(file.fileno(), rows, cubes)
            os.fsync(file.fileno())

    def _write(self, file: int, rows: Sequence[int], cubes: Sequence[VolumeArray]) -> None:
        """Write rows where they belong, and not through a memory map, which a full disk ends with a signal.

        On a shared file system the lock keeps two machines from writing rows that share a page at once.
        """
        fcntl.flock(file, fcntl.LOCK_EX)
        for row, cube in zip(rows, cubes, strict=True):
            content = cube.tobytes()
            while content:
                written = os.pwrite(file, content, self.first + (row + 1) * cube.nbytes - len(content))
                content = content[written:]
        fcntl.flock(file, fcntl.LOCK_UN)
