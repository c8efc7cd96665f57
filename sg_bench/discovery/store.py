"""The patterns on disk: one memory-mapped array of cubes, and an index of where each was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sg_bench.config import Shape
from sg_bench.data.cubes import resized
from sg_bench.data.sampling import VolumeArray
from sg_bench.discovery.patterns import Reference, Window, cut_window
from sg_bench.workspace import write_json


def write_patterns(
    folder: Path,
    references: Sequence[Reference],
    windows: Sequence[Window],
    volumes: Callable[[str], VolumeArray],
    cube: Shape,
) -> None:
    """Cut all windows into `folder`/cubes.npy, (n, *cube) float16 in [0, 1], and describe them in index.json.

    Row i of the array is window i of the index; volumes are read once each.
    """
    path = folder / "cubes.npy"
    cubes = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(windows), *cube))
    rows: dict[str, list[int]] = {}
    for row, window in enumerate(windows):
        rows.setdefault(window.id, []).append(row)
    for id_, chosen in rows.items():
        volume = volumes(id_)
        for row in chosen:
            cubes[row] = resized(cut_window(volume, windows[row]), cube)
    cubes.flush()
    index = {"schema": 1, "references": [asdict(r) for r in references], "windows": [asdict(w) for w in windows]}
    write_json(folder / "index.json", index)
