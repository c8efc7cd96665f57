"""Reads the slices of a montage from stored predictions and stores, in radiological orientation."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sg_bench.config import key_of
from sg_bench.data.store import Store
from sg_bench.errors import SgBenchError
from sg_bench.evaluation.crops import cut_crop, fixed_crops, masks_of
from sg_bench.ledger.copies import pull_predictions
from sg_bench.recipes import recorded_task
from sg_bench.reporting.evidence import Run
from sg_bench.tasks import Task
from sg_bench.workspace import DamagedCopyError, Workspace

PixelArray = NDArray[Any]
MOST_BYTES = 2_000_000_000
"""A store that is kept elsewhere is copied here for its pictures up to this size."""
UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class AxialSlice:
    """One axial slice of one test image in radiological orientation: axis 0 to the patient's left, 1 to the front."""

    id: str
    image: PixelArray | None = field(compare=False)
    """(x, y) in [0, 1]; None if the store cannot provide it."""
    probability: PixelArray = field(compare=False)
    truth: PixelArray = field(compare=False)
    sides: tuple[float, float] = (1.0, 1.0)
    """Size of a pixel, in mm if the store is available."""
    dice: float | None = None
    """Of the complete image, not of the slice."""


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, PixelArray] | None:
    """Return some arrays of an .npz file, None if it is absent or unreadable."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except UNREADABLE:
        return None


def evenly_spaced(items: Sequence[str], count: int) -> list[str]:
    """Return `count` evenly spaced `items`, including the first and the last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def images_of(runs: Sequence[Run], count: int) -> list[str]:
    """Return up to `count` ids, evenly spaced among the test cases that all runs share and that contain a target.

    Of a case that was tested in crops, the first crop with a target.
    """
    shared: dict[str, str] = {}
    rows = [run.case_rows() for run in runs]
    kept = [{case["case"] for case in each} for each in rows]
    for case in sorted(rows[0], key=lambda case: str(case["case"])):
        if case.get("true") and all(case["case"] in ids for ids in kept):
            shared.setdefault(case_of(case["case"], runs[0].record), case["case"])
    return evenly_spaced(list(shared.values()), count)


def case_of(id_: str, record: Mapping[str, Any]) -> str:
    """Return the case of a test image's id: "patient-3" of the crop "patient-3#0"."""
    crops = record["recipe"]["task"]["inference"]["mode"] == "crops"
    return id_.rpartition("#")[0] if crops and "#" in id_ else id_


def slices_of(run: Run, ids: Sequence[str], workspace: Workspace) -> list[AxialSlice] | None:
    """Return a slice through the middle of each image's target, None if the run's predictions cannot be read."""
    path = workspace.path("predictions", f"{run.cell.key}.npz")
    pull_predictions(workspace, run.record)
    listed = read_arrays(path, ["ids"])
    if listed is None:
        return None
    places = {id_: number for number, id_ in enumerate(listed["ids"].tolist())}
    if not set(ids) <= places.keys():
        return None
    names = {id_: (f"probability_{places[id_]}", f"truth_{places[id_]}") for id_ in ids}
    found = read_arrays(path, [name for pair in names.values() for name in pair])
    if found is None:
        return None
    dice = {case["case"]: case.get("dice_case") for case in run.case_rows()}
    store = _store(run, workspace)
    return [_slice(run, id_, found[a], found[b], store, dice.get(id_)) for id_, (a, b) in names.items()]


def axial(volume: PixelArray, orientation: str) -> PixelArray:
    """Return `volume` with axes to the patient's left, to the front and along the body."""
    across, forwards, along = axes_of(orientation)
    turned = np.transpose(volume, (across, forwards, along))
    return turned[:: 1 if orientation[across] == "L" else -1, :: 1 if orientation[forwards] == "A" else -1]


def axes_of(orientation: str) -> tuple[int, int, int]:
    """Return the array axes that run from side to side, from back to front and along the body."""
    found = [next(i for i, letter in enumerate(orientation) if letter in pair) for pair in ("LR", "AP", "IS")]
    return found[0], found[1], found[2]


def middle(truth: PixelArray) -> int:
    """Return the index along the last axis of the middle one of the slices that contain a target."""
    held = np.flatnonzero(truth.any(axis=(0, 1)))
    return int(held[len(held) // 2]) if len(held) else truth.shape[2] // 2


def orientation_of(store: Mapping[str, Any] | None) -> str:
    """Return the orientation that a store's recipe asks for."""
    return str(((store or {}).get("preparation") or {}).get("orientation", "RAS"))


def _slice(
    run: Run, id_: str, probability: PixelArray, truth: PixelArray, store: Store | None, dice: float | None
) -> AxialSlice:
    orientation = orientation_of(run.record["recipe"]["store"])
    image, sides = _image_of(run, id_, truth, store)
    turned = [axial(np.asarray(part), orientation) for part in (probability, truth)]
    index = middle(turned[1])
    plane = None if image is None else np.asarray(axial(image, orientation)[:, :, index], np.float32)
    across, forwards, _ = axes_of(orientation)
    return AxialSlice(
        id_,
        plane,
        turned[0][:, :, index].astype(np.float32),
        turned[1][:, :, index] > 0,
        (float(sides[across]), float(sides[forwards])),
        dice,
    )


def _store(run: Run, workspace: Workspace) -> Store | None:
    key = key_of(run.record["recipe"]["store"])
    try:
        if workspace.remote and workspace.remote.size("stores", key) <= MOST_BYTES:
            workspace.remote.fetch("stores", key)
        return Store.open(workspace.path("stores", key))
    except (SgBenchError, DamagedCopyError):
        return None


def _image_of(run: Run, id_: str, truth: PixelArray, store: Store | None) -> tuple[PixelArray | None, Sequence[float]]:
    """Return the image of a prediction and its spacing; None for the image if its label differs from the truth.

    An id contains a case and the number of a crop, not its position. The position is recomputed, and the label is
    compared with the stored truth to detect a wrong one.
    """
    case = case_of(id_, run.record)
    if store is None or case not in store:
        return None, (1.0, 1.0, 1.0)
    spacing = store[case].spacing
    try:
        image, label = _cut(recorded_task(run.record["recipe"]), id_, case, store)
    except (SgBenchError, ValidationError, KeyError, ValueError):
        return None, spacing
    same = label.shape == truth.shape and bool((label == (truth > 0)).all())
    return (image if same else None), spacing


def _cut(task: Task, id_: str, case: str, store: Store) -> tuple[PixelArray, PixelArray]:
    """Return the image and truth of a test image.

    Raises:
        KeyError: the task has no test crop of that id.
    """
    if case == id_:
        return _first(store.image(case)), masks_of(task, store.label(case))
    image, truth = cut_crop(store, task, {crop.id: crop for crop in fixed_crops(task, store, [case])}[id_])
    return _first(image), truth


def _first(image: PixelArray) -> PixelArray:
    """Return an image of one channel as it is, or the first of several."""
    return image if image.ndim == 3 else image[0]
