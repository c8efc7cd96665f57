"""Montages of example images: segmentations with the truth, and images corrupted and restored in pretraining.

Cases are chosen by the order of their ids alone, never by their scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_bench.config import key_of
from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.figures.layout import FigureLayout, Plot
from sg_bench.reporting.figures.slices import (
    AxialSlice,
    PixelArray,
    axial,
    images_of,
    orientation_of,
    read_arrays,
    slices_of,
)
from sg_bench.reporting.figures.style import LEADING, ORANGE, SKY, SMALL, TALL, fold_label
from sg_bench.reporting.figures.summaries import absent_sentence, full_tasks, scratch_labels, sentences
from sg_bench.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, NARROW = 5, 3
"""Cases in a row."""
TRIPLETS = 2
"""Restored examples of each method."""
DASHES = (0, (2.2, 1.4))
PARTS = ("inputs", "outputs", "targets")
PART_TITLES = ("corrupted", "restored", "target")
SELECTION = "Cases are evenly spaced in the order of their ids; none was chosen by its result."
SLICE_NOTE = "Middle slice of the target, patient's right on the left; Dice of the complete test image."
NO_IMAGES = "Grey: the predicted probability, black 0 to white 1, because the images are not available."
EXAMPLES_NOTE = (
    "Middle slices of validation cubes of the pretraining (of training cubes where it had none), corrupted as by the "
    "method; black 0, white 1."
)


def plots(evidence: Evidence, workspace: Workspace) -> list[Plot]:
    """Return a montage for each segmentation task with stored predictions, and one of restorations."""
    found = [segmentation(evidence, task, workspace) for task in full_tasks(evidence)]
    return [plot for plot in [*found, restoration(evidence, workspace)] if plot]


def segmentation(evidence: Evidence, task: str, workspace: Workspace) -> Plot | None:
    """Return the montage of one segmentation task; None for other tasks, or if no prediction can be read."""
    runs = chosen_runs(evidence, task)
    if not runs or next(iter(runs.values())).record["recipe"]["task"]["kind"] != "segmentation":
        return None
    ids = images_of(list(runs.values()), WIDE)
    read = {method: slices_of(run, ids, workspace) for method, run in runs.items()} if ids else {}
    rows = {method: found for method, found in read.items() if found}
    if not rows:
        return None
    unreadable = [method for method in runs if method not in rows]
    no_images = any(part.image is None for found in rows.values() for part in found)
    if no_images:
        rows = {method: [replace(part, image=None) for part in found] for method, found in rows.items()}
    caption = sentences(
        SLICE_NOTE,
        NO_IMAGES if no_images else "",
        SELECTION,
        _about_runs(runs[method] for method in rows),
        f"Predictions that cannot be read: {', '.join(unreadable)}." if unreadable else "",
        absent_sentence(evidence, evidence.methods, [task]),
    )
    return Plot(f"segmentation-{_stem(task)}", f"Segmentations: {task}", caption, partial(_segmentation, rows))


def chosen_runs(evidence: Evidence, task: str) -> dict[str, Run]:
    """Return one run of each method: of the lowest seeds that all methods share, else of its own lowest seeds."""
    every = {method: evidence.runs[method, task] for method in evidence.methods if evidence.runs.get((method, task))}
    shared = set.intersection(*({run.seeds for run in runs} for runs in every.values())) if every else set()
    return {
        method: min((run for run in runs if not shared or run.seeds in shared), key=lambda run: run.seeds)
        for method, runs in every.items()
    }


def restoration(evidence: Evidence, workspace: Workspace) -> Plot | None:
    """Return the montage of images restored in pretraining; None if no example is stored."""
    first: dict[str, Run] = {}
    for (method, _), runs in evidence.runs.items():
        first.setdefault(method, min(runs, key=lambda run: run.seeds))
    read = {method: _examples(first[method], workspace) for method in evidence.methods if method in first}
    rows = {method: found for method, found in read.items() if found}
    if not rows:
        return None
    without = [method for method in read if method not in rows and method not in scratch_labels(evidence)]
    seeds = sorted({first[method].cell.pretraining_seed for method in rows})
    caption = sentences(
        EXAMPLES_NOTE,
        f"Pretraining seed {', '.join(map(str, seeds))}.",
        f"No stored example: {', '.join(without)}." if without else "",
    )
    return Plot("restoration", "Images restored in pretraining", caption, partial(_restoration, rows))


def _examples(run: Run, workspace: Workspace) -> list[list[PixelArray]] | None:
    """Return (input, output, target) of some examples, each (x, y), None if the initialisation has none."""
    recipe = run.record["recipe"]["initialisation"]
    found = read_arrays(workspace.path("initialisations", key_of(recipe)) / "examples.npz", PARTS)
    if found is None or not len(found["inputs"]):
        return None
    orientation = orientation_of((recipe.get("corpus") or {}).get("store"))
    count = len(found["inputs"])
    places = [place * (count - 1) // max(TRIPLETS - 1, 1) for place in range(min(TRIPLETS, count))]
    return [[_upright(found[name][place], orientation) for name in PARTS] for place in places]


def _upright(image: PixelArray, orientation: str) -> PixelArray:
    """Return an (x, y) slice in radiological orientation; unchanged if its z axis does not run along the body."""
    return axial(image[:, :, None], orientation)[:, :, 0] if orientation[2] in "IS" else image


def _stem(task: str) -> str:
    """Return a task's label as a file's name: "lcs[steps=80]" as lcs-steps-80."""
    return "-".join(part for part in re.split(r"[^A-Za-z0-9._]+", task) if part)


def _about_runs(runs: Iterable[Run]) -> str:
    seeds = sorted({run.seeds for run in runs})
    if len(seeds) > 1:
        return "Each method's run with the lowest seeds."
    return f"Runs of pretraining seed {seeds[0][0]}, fine-tuning seed {seeds[0][1]}."


def _segmentation(rows: dict[str, list[AxialSlice]], layout: FigureLayout) -> None:
    from matplotlib.lines import Line2D

    columns = min(NARROW if layout.narrow else WIDE, max(len(found) for found in rows.values()))
    label_width = 0.75 if layout.narrow else 1.1
    panels = _grid(layout, len(rows), columns, label_width, [found[0].truth.shape for found in rows.values()], 0.16)
    ids = [
        fold_label(part.id, (layout.width - label_width) / columns - 0.08)
        for part in next(iter(rows.values()))[:columns]
    ]
    layout.height += max(id_.count("\n") for id_ in ids) * SMALL * LEADING / 72
    for line, (method, found) in enumerate(rows.items()):
        for axes, part in zip(panels[line], found, strict=False):
            _outlined(axes, part)
        _write_method(panels[line][0], method, label_width)
    for axes, id_ in zip(panels[0], ids, strict=True):
        axes.set_title(id_, fontsize=SMALL, fontweight="normal")
    truth = Line2D([], [], color=SKY, lw=1.4)
    predicted = Line2D([], [], color=ORANGE, lw=1.4, linestyle=DASHES)
    layout.legend([truth, predicted], ["truth", "prediction (probability above 0.5)"])


def _outlined(axes: Axes, part: AxialSlice) -> None:
    width, height = (side * pixels for side, pixels in zip(part.sides, part.truth.shape, strict=True))
    image = part.probability if part.image is None else part.image
    axes.imshow(image.T, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="none",
                extent=(0, width, 0, height))  # fmt: skip
    _outline(axes, part.truth, part.sides, SKY, "solid")
    _outline(axes, part.probability > 0.5, part.sides, ORANGE, DASHES)
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(0, height))
    if part.dice is not None:
        axes.set_xlabel(f"Dice {100 * part.dice:.0f} %", fontsize=SMALL, labelpad=1.5)


def _outline(axes: Axes, mask: PixelArray, sides: tuple[float, float], colour: str, line: Any) -> None:
    """Draw a contour around `mask`, closed at the image's border, with a dark outline to be visible on any grey."""
    from matplotlib.patheffects import withStroke

    if not mask.any():
        return
    padded = np.pad(mask.astype(np.float32), 1)
    x, y = (side * (np.arange(-1, pixels + 1) + 0.5) for side, pixels in zip(sides, mask.shape, strict=True))
    contour = axes.contour(x, y, padded.T, levels=[0.5], colors=[colour], linestyles=[line], linewidths=1.1)
    contour.set(path_effects=[withStroke(linewidth=1.9, foreground="#00000099")])


def _restoration(rows: dict[str, list[list[PixelArray]]], layout: FigureLayout) -> None:
    examples = max(len(found) for found in rows.values())
    across = 1 if layout.narrow else examples
    label_width = 0.75 if layout.narrow else 1.1
    lines = [(method, found[first : first + across])
             for method, found in rows.items() for first in range(0, len(found), across)]  # fmt: skip
    panels = _grid(layout, len(lines), 3 * across, label_width, [chunk[0][0].shape for _, chunk in lines], 0.05)
    for line, (method, chunk) in enumerate(lines):
        pictures = [image for triplet in chunk for image in triplet]
        for place, axes in enumerate(panels[line]):
            if place < len(pictures):
                axes.imshow(pictures[place].T, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="none")
            axes.set(xticks=[], yticks=[])
            if line == 0:
                axes.set_title(PART_TITLES[place % 3], fontsize=SMALL, fontweight="normal")
        if line == 0 or lines[line - 1][0] != method:
            _write_method(panels[line][0], method, label_width)


def _grid(
    layout: FigureLayout, down: int, across: int, label_width: float, shapes: Sequence[tuple[int, ...]], foot: float
) -> list[list[Axes]]:
    """Return `down` rows of `across` panels, high enough for their images and `foot` inches below."""
    side = (layout.width - label_width) / across
    height = side * max(shape[1] / shape[0] for shape in shapes)
    found = layout.panels(down * across, across=across, height=min(min(height, 2 * side) + foot, TALL / down))
    for axes in found:
        for spine in axes.spines.values():
            spine.set_visible(False)
    return [found[line * across : (line + 1) * across] for line in range(down)]


def _write_method(axes: Axes, method: str, label_width: float) -> None:
    axes.set_ylabel(fold_label(method, label_width - 0.12), rotation=0, ha="right", va="center", fontsize=SMALL)
