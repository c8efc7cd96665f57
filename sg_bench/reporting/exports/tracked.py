"""What trackers of experiments store of a run: parameters, metrics, curves and images, from records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from sg_bench.config import key_of
from sg_bench.ledger import Record
from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.figures.montage import restored_examples
from sg_bench.reporting.figures.slices import AxialSlice, PixelArray, images_of, slices_of
from sg_bench.reporting.networks import network_identity
from sg_bench.workspace import Workspace, read_json

IMAGES = 2
"""Test images shown of each segmentation."""
TRUTH, PREDICTION = (86, 180, 233), (230, 159, 0)
"""RGB of the truth and of the prediction in pictures of segmentations."""
ParameterValue = str | int | float | bool


@dataclass(frozen=True)
class CurvePoint:
    """One value of a curve."""

    name: str
    """Such as "train/loss"; with the stage before it if the training has several."""
    step: int
    """Optimisation steps of the stage so far."""
    value: float


@dataclass(frozen=True)
class TrackedRun:
    """One fine-tuning or pretraining, as a tracker shows it."""

    key: str
    """Of its record."""
    stage: Literal["pretraining", "fine-tuning"]
    labels: tuple[str, ...]
    """Method, and of a fine-tuning the task."""
    seeds: str
    """Such as "p0-f1" of a fine-tuning and "3d-p0" of a pretraining, of which a method has one for each dimension."""
    parameters: Mapping[str, ParameterValue] = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)
    """Final numbers, as "test/auc" (a fraction) or "cost/wall_seconds"."""
    curves: Sequence[CurvePoint] = field(repr=False)
    images: Mapping[str, PixelArray] = field(repr=False)
    """(height, width, 3) of uint8, by name."""
    digest: str = ""
    """Changes if the record was computed or scored again with another outcome."""

    @property
    def name(self) -> str:
        """Return "semantic_genesis · ncc · p0-f1"."""
        return " · ".join((*self.labels, self.seeds))

    @property
    def path(self) -> str:
        """Return "fine-tuning/semantic_genesis/ncc/p0-f1", safe as a folder's name and different for each run."""
        safe = (quote(label, safe="[]=,+ ").replace("..", "%2E%2E") for label in self.labels)
        return "/".join([self.stage, *safe, self.seeds])


def tracked_runs(evidence: Evidence, workspace: Workspace | None = None) -> Iterator[TrackedRun]:
    """Yield each pretraining of which the workspace has a record with curves, and each finished cell."""
    first: dict[str, Run] = {}
    for runs in evidence.runs.values():
        for run in runs:
            initialisation = (run.record.get("recipe") or {}).get("initialisation")
            if workspace is not None and initialisation:
                first.setdefault(key_of(initialisation), run)
    for key, run in first.items():
        found = tracked_pretraining(key, run, workspace) if workspace is not None else None
        if found is not None:
            yield found
    for runs in evidence.runs.values():
        yield from (tracked_cell(run, workspace) for run in runs)


def tracked_cell(run: Run, workspace: Workspace | None = None) -> TrackedRun:
    """Return a finished cell; its images need the workspace."""
    record, cell = run.record, run.cell
    recipe, ran = record.get("recipe") or {}, record.get("ran") or {}
    metrics = {f"test/{name}": float(value) for name, value in record["metrics"].items() if value is not None}
    return TrackedRun(
        cell.key,
        "fine-tuning",
        (cell.method, cell.task),
        f"p{cell.pretraining_seed}-f{cell.fine_tuning_seed}",
        {**_common(cell.method, recipe.get("initialisation") or {}), **_of_task(run, recipe.get("task") or {})},
        metrics | _costs(ran),
        curve_points(run.curves()),
        {} if workspace is None else _segmentations(run, workspace),
        key_of([record["metrics"], record.get("tables") or {}]),
    )


def tracked_pretraining(key: str, run: Run, workspace: Workspace) -> TrackedRun | None:
    """Return the pretraining that a run started from; None if nothing was trained, or its record cannot be read."""
    if workspace.remote:
        workspace.remote.fetch_file("initialisations", key, "record.json")
    try:
        record: Record = read_json(workspace.path("initialisations", key) / "record.json")
    except (OSError, ValueError):
        return None
    if not record.get("curves"):
        return None
    recipe = run.record["recipe"]["initialisation"]
    examples = restored_examples(run, workspace) or []
    seed = run.cell.pretraining_seed
    return TrackedRun(
        key,
        "pretraining",
        (run.cell.method,),
        f"{(recipe.get('config') or {}).get('dimension', 3)}d-p{seed}",
        {**_common(run.cell.method, recipe), "pretraining_seed": seed},
        _costs(record.get("ran") or {}),
        curve_points(record["curves"]),
        {f"restoration/{n}": np.hstack([_grey(part) for part in parts]) for n, parts in enumerate(examples)},
        key_of(record.get("outputs") or {}),
    )


def curve_points(rows: Sequence[Mapping[str, Any]]) -> list[CurvePoint]:
    """Return the losses and the learning rate of the epochs of a training."""
    stages = list(dict.fromkeys(str(row.get("stage", "")) for row in rows))
    points = []
    for number, row in enumerate(rows):
        prefix = f"{row['stage']}/" if len(stages) > 1 and row.get("stage") else ""
        step = int(row.get("step", number))
        for part in ("train", "validation"):
            losses = row.get(part) or {}
            points += [CurvePoint(f"{prefix}{part}/{name}", step, float(value)) for name, value in losses.items()]
        if row.get("lr") is not None:
            points.append(CurvePoint(f"{prefix}learning rate", step, float(row["lr"])))
    return [point for point in points if np.isfinite(point.value)]


def flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, ParameterValue]]:
    """Yield the numbers and texts of nested settings by their dotted names; lists as text."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}.{name}")
        elif isinstance(value, str | int | float | bool):
            yield f"{prefix}.{name}", value
        elif isinstance(value, list | tuple):
            yield f"{prefix}.{name}", ", ".join(map(str, value))


def _common(method: str, initialisation: Mapping[str, Any]) -> dict[str, ParameterValue]:
    config = initialisation.get("config") or {}
    return {
        "method": method,
        "method_name": str(initialisation.get("method", method)),
        **({"network": network_identity(config)[0], "dimension": config.get("dimension", 3)} if config else {}),
        **dict(flat(config, "pretraining")),
    }


def _of_task(run: Run, task: Mapping[str, Any]) -> dict[str, ParameterValue]:
    source = ((run.record.get("recipe") or {}).get("store") or {}).get("source")
    return {
        "task": run.cell.task,
        **({"data": str(source)} if source else {}),
        **({"fraction": float(task["fraction"])} if "fraction" in task else {}),
        "pretraining_seed": run.cell.pretraining_seed,
        "fine_tuning_seed": run.cell.fine_tuning_seed,
        **dict(flat(task.get("training") or {}, "fine_tuning")),
    }


def _costs(ran: Mapping[str, Any]) -> dict[str, float]:
    names = ("wall_seconds", "processor_seconds", "peak_memory_mib", "peak_device_memory_mib")
    return {f"cost/{name}": float(ran[name]) for name in names if ran.get(name) is not None}


def _segmentations(run: Run, workspace: Workspace) -> dict[str, PixelArray]:
    """Return pictures of some test images with their truth and prediction; {} for other tasks."""
    if ((run.record.get("recipe") or {}).get("task") or {}).get("kind") != "segmentation":
        return {}
    ids = images_of([run], IMAGES)
    found = slices_of(run, ids, workspace) if ids else None
    return {f"segmentation/{place}": _overlaid(part) for place, part in enumerate(found or [])}


def _overlaid(part: AxialSlice) -> PixelArray:
    """Return image, image with the truth, and image with the prediction, next to each other."""
    image = _grey(np.zeros_like(part.probability) if part.image is None else part.image)
    masks = [(_upright(part.truth), TRUTH), (_upright(part.probability > 0.5), PREDICTION)]
    coloured = [
        np.where(mask[..., None], image // 2 + np.asarray(colour, np.uint8) // 2, image) for mask, colour in masks
    ]
    return np.hstack([image, *coloured]).astype(np.uint8)


def _grey(image: PixelArray) -> PixelArray:
    """Return an (x, y) image of values in [0, 1] as an upright picture (height, width, 3) of uint8."""
    pixels = (255 * np.clip(_upright(image), 0, 1)).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2)


def _upright(image: PixelArray) -> PixelArray:
    """Return an (x, y) image, whose y runs upwards, as rows from top to bottom."""
    return np.asarray(image).T[::-1]
