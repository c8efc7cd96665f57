"""Montage of discovered patterns: crops at one place in anatomically similar patients, which share a pseudo-label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from sg_bench.config import key_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot
from sg_bench.reporting.figures.montage import ImageGrid, upright
from sg_bench.reporting.figures.pretraining import recipes_of
from sg_bench.reporting.figures.slices import UNREADABLE, PixelArray, evenly_spaced, orientation_of
from sg_bench.workspace import Workspace, read_json

LABELS = 4
"""Pseudo-labels that are shown."""
WIDE, NARROW = 7, 4
"""Patients in a row."""
CAPTION = (
    "Each row is one pseudo-label: the reference patient's crop, then crops at its coordinate in the patients whose "
    "latent features are nearest, in the order of their ids; middle slices, black 0, white 1. Labels are evenly spaced "
    "in their order; none was chosen by its looks."
)


def plots(evidence: Evidence, workspace: Workspace) -> list[Plot]:
    """Return a montage for the patterns of each dimension that finished runs were pretrained on."""
    found: dict[str, Plot] = {}
    for _, recipe in recipes_of(evidence):
        patterns = recipe.get("patterns")
        dimension = int(recipe.get("config", {}).get("dimension", 3))
        name = f"patterns-{dimension}d"
        if patterns and name not in found:
            rows = read_patterns(key_of(patterns), orientation_of((recipe.get("corpus") or {}).get("store")), workspace)
            if rows:
                title = f"Patterns that self-discovery found in {dimension}D"
                found[name] = Plot(name, title, CAPTION, partial(_draw, rows))
    return list(found.values())


def read_patterns(key: str, orientation: str, workspace: Workspace) -> dict[str, list[PixelArray]]:
    """Return slices of the patterns of some labels, each (x, y), the reference first; {} if they cannot be read."""
    folder = workspace.path("patterns", key)
    try:
        index = read_json(folder / "index.json")
        cubes = np.load(folder / "cubes.npy", mmap_mode="r", allow_pickle=False)
        references = {str(each["label"]): each["id"] for each in index["references"]}
        shown = evenly_spaced(list(references), LABELS)
        rows = {label: rows_of(index["windows"], int(label), references[label]) for label in shown}
        middle = cubes.shape[3] // 2
        return {
            f"label {label}": [upright(np.asarray(cubes[row, :, :, middle], np.float32), orientation) for row in found]
            for label, found in rows.items()
            if found
        }
    except UNREADABLE:
        return {}


def rows_of(windows: Sequence[Mapping[str, Any]], label: int, reference: str) -> list[int]:
    """Return the first window of each patient with a label, the reference first, then in the order of their ids."""
    first: dict[str, int] = {}
    for row, window in enumerate(windows):
        if window["label"] == label:
            first.setdefault(window["id"], row)
    return [first[id_] for id_ in sorted(first, key=lambda id_: (id_ != reference, id_))[:WIDE]]


def _draw(rows: dict[str, list[PixelArray]], layout: FigureLayout) -> None:
    columns = min(NARROW if layout.narrow else WIDE, max(map(len, rows.values())))
    titles = ["reference", *(f"patient {number}" for number in range(2, columns + 1))]
    ratios = {name: found[0].shape[1] / found[0].shape[0] for name, found in rows.items()}
    grid = ImageGrid(layout, list(rows), titles, max(ratios.values()), foot=0.05)
    for line, (name, found) in enumerate(rows.items()):
        for column, image in enumerate(found[:columns]):
            grid.image(line, column, image, ratios[name])
