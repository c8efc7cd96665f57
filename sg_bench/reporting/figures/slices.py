"""From stored arrays to pictures: which run, which case, which slice, which way up."""

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
from sg_bench.evaluation.crops import cut_crop, fixed_crops
from sg_bench.reporting.evidence import Run
from sg_bench.tasks import Task
from sg_bench.workspace import Workspace

Array = NDArray[Any]
UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Slice:
    """One axial slice of one test image as a radiologist looks at it: axis 0 to the patient's left, 1 forwards."""

    id: str
    image: Array | None = field(compare=False)
    """(x, y) in [0, 1]; None where the store cannot give it."""
    probability: Array = field(compare=False)
    truth: Array = field(compare=False)
    sides: tuple[float, float] = (1.0, 1.0)
    """Size of a pixel, in mm where the store is at hand."""
    dice: float | None = None
    """Of the whole image, not of the slice."""


def arrays(path: Path, names: Sequence[str]) -> dict[str, Array] | None:
    """Return some arrays of an .npz file, None if it is absent or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except UNREADABLE:
        return None


def spread(items: Sequence[str], count: int) -> list[str]:
    """Return `count` of `items` at even distances, first and last among them."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def images_of(runs: Sequence[Run], count: int) -> list[str]:
    """Return up to `count` ids, evenly spaced among the test cases that all runs share and that hold a target.

    Of a case that was tested in crops, the first crop that holds some of it.
    """
    shared: dict[str, str] = {}
    kept = [{case["case"] for case in run.record["cases"]} for run in runs]
    for case in sorted(runs[0].record["cases"], key=lambda case: str(case["case"])):
        if case.get("true") and all(case["case"] in ids for ids in kept):
            shared.setdefault(case_of(case["case"], runs[0].record), case["case"])
    return spread(list(shared.values()), count)


def case_of(id_: str, record: Mapping[str, Any]) -> str:
    """Return the case of a test image's id: "patient-3" of the crop "patient-3#0"."""
    crops = record["recipe"]["task"]["inference"]["mode"] == "crops"
    return id_.rpartition("#")[0] if crops and "#" in id_ else id_


def slices_of(run: Run, ids: Sequence[str], workspace: Workspace) -> list[Slice] | None:
    """Return a slice through the middle of each image's target, None if the run's predictions cannot be read."""
    path = workspace.path("predictions", f"{run.cell.key}.npz")
    listed = arrays(path, ["ids"])
    if listed is None:
        return None
    places = {id_: number for number, id_ in enumerate(listed["ids"].tolist())}
    if not set(ids) <= places.keys():
        return None
    names = {id_: (f"probability_{places[id_]}", f"truth_{places[id_]}") for id_ in ids}
    found = arrays(path, [name for pair in names.values() for name in pair])
    if found is None:
        return None
    dice = {case["case"]: case.get("dice_case") for case in run.record["cases"]}
    store = _store(run, workspace)
    return [_slice(run, id_, found[a], found[b], store, dice.get(id_)) for id_, (a, b) in names.items()]


def axial(volume: Array, orientation: str) -> Array:
    """Return `volume` with axes to the patient's left, forwards and along the body, whatever its orientation."""
    across, forwards, along = axes_of(orientation)
    turned = np.transpose(volume, (across, forwards, along))
    return turned[:: 1 if orientation[across] == "L" else -1, :: 1 if orientation[forwards] == "A" else -1]


def axes_of(orientation: str) -> tuple[int, int, int]:
    """Return which array axes run across the body, from back to front and along it."""
    found = [next(i for i, letter in enumerate(orientation) if letter in pair) for pair in ("LR", "AP", "IS")]
    return found[0], found[1], found[2]


def middle(truth: Array) -> int:
    """Return the index along the last axis of the middle one of the slices that hold some target."""
    held = np.flatnonzero(truth.any(axis=(0, 1)))
    return int(held[len(held) // 2]) if len(held) else truth.shape[2] // 2


def orientation_of(store: Mapping[str, Any] | None) -> str:
    """Return the orientation that a store's recipe asks for."""
    return str(((store or {}).get("preparation") or {}).get("orientation", "RAS"))


def _slice(run: Run, id_: str, probability: Array, truth: Array, store: Store | None, dice: float | None) -> Slice:
    orientation = orientation_of(run.record["recipe"]["store"])
    image, sides = _seen(run, id_, truth, store)
    turned = [axial(np.asarray(part), orientation) for part in (probability, truth)]
    index = middle(turned[1])
    plane = None if image is None else np.asarray(axial(image, orientation)[:, :, index], np.float32)
    across, forwards, _ = axes_of(orientation)
    return Slice(
        id_,
        plane,
        turned[0][:, :, index].astype(np.float32),
        turned[1][:, :, index] > 0,
        (float(sides[across]), float(sides[forwards])),
        dice,
    )


def _store(run: Run, workspace: Workspace) -> Store | None:
    try:
        return Store.open(workspace.path("stores", key_of(run.record["recipe"]["store"])))
    except SgBenchError:
        return None


def _seen(run: Run, id_: str, truth: Array, store: Store | None) -> tuple[Array | None, Sequence[float]]:
    """Return what was predicted on and its spacing; no image unless the label at the same place is the truth.

    An id names a case and a crop's number, not its place: that is worked out anew, and the label shows whether rightly.
    """
    case = case_of(id_, run.record)
    if store is None or case not in store:
        return None, (1.0, 1.0, 1.0)
    spacing = store[case].spacing
    try:
        image, label = _cut(_task(run), id_, case, store)
    except (SgBenchError, ValidationError, KeyError, ValueError):
        return None, spacing
    same = label.shape == truth.shape and bool((label == (truth > 0)).all())
    return (image if same else None), spacing


def _cut(task: Task, id_: str, case: str, store: Store) -> tuple[Array, Array]:
    """Return the image and truth of a test image.

    Raises:
        KeyError: the task is not tested in a crop of that id.
    """
    if case == id_:
        return store.image(case), np.isin(store.label(case), task.target)
    return cut_crop(store, task, {crop.id: crop for crop in fixed_crops(task, store, [case])}[id_])


def _task(run: Run) -> Task:
    """Return the task of a run's recipe; what a recipe leaves out (title, the data's name) is empty."""
    recipe = run.record["recipe"]
    data = {"name": "", "source": recipe["store"]["source"], "config": recipe["store"]["config"]}
    return Task.model_validate({**recipe["task"], "title": "", "data": data})
