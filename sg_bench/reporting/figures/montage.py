"""What a method sees: segmentations beside the truth, and images corrupted and restored in pretraining.

Cases are picked by the order of their ids alone, never by how well they came out.
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
from sg_bench.reporting.figures.sheet import Plot, Sheet
from sg_bench.reporting.figures.slices import Array, Slice, arrays, axial, images_of, orientation_of, slices_of
from sg_bench.reporting.figures.style import LEADING, ORANGE, SKY, SMALL, TALL, folded
from sg_bench.reporting.figures.summaries import absent, full_tasks, scratches, sentences
from sg_bench.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, NARROW = 5, 3
"""Cases in a row."""
TRIPLETS = 2
"""Restored examples of each method."""
DASHES = (0, (2.2, 1.4))
PARTS = ("inputs", "outputs", "targets")
CALLED = ("corrupted", "restored", "target")
PICKED = "Cases stand at even distances in the order of their ids; none was chosen by its result."
SHOWN = "Middle slice of the target, the patient's right on the left; Dice is that of the whole test image."
BLIND = "Grey: the predicted probability, black 0 to white 1, since the images are not at hand."
KEPT = (
    "Middle slices of cubes that pretraining kept for validation (of its own, where it kept none), corrupted as the "
    "method corrupts them; black 0, white 1."
)


def plots(evidence: Evidence, workspace: Workspace) -> list[Plot]:
    """Return a montage for each segmentation task whose predictions are there, and one of restorations."""
    found = [segmentation(evidence, task, workspace) for task in full_tasks(evidence)]
    return [plot for plot in [*found, restoration(evidence, workspace)] if plot]


def segmentation(evidence: Evidence, task: str, workspace: Workspace) -> Plot | None:
    """Return the montage of one task, None if it is no segmentation task or no prediction can be read."""
    runs = chosen_runs(evidence, task)
    if not runs or next(iter(runs.values())).record["recipe"]["task"]["kind"] != "segmentation":
        return None
    ids = images_of(list(runs.values()), WIDE)
    read = {method: slices_of(run, ids, workspace) for method, run in runs.items()} if ids else {}
    rows = {method: found for method, found in read.items() if found}
    if not rows:
        return None
    unread = [method for method in runs if method not in rows]
    blind = any(part.image is None for found in rows.values() for part in found)
    if blind:
        rows = {method: [replace(part, image=None) for part in found] for method, found in rows.items()}
    caption = sentences(
        SHOWN,
        BLIND if blind else "",
        PICKED,
        _about_runs(runs[method] for method in rows),
        f"Predictions that cannot be read: {', '.join(unread)}." if unread else "",
        absent(evidence, evidence.methods, [task]),
    )
    return Plot(f"segmentation-{_stem(task)}", f"Segmentations: {task}", caption, partial(_segmentation, rows))


def chosen_runs(evidence: Evidence, task: str) -> dict[str, Run]:
    """Return one run of each method: that of the lowest seeds that all have, else of its own lowest."""
    every = {method: evidence.runs[method, task] for method in evidence.methods if evidence.runs.get((method, task))}
    shared = set.intersection(*({run.seeds for run in runs} for runs in every.values())) if every else set()
    return {
        method: min((run for run in runs if not shared or run.seeds in shared), key=lambda run: run.seeds)
        for method, runs in every.items()
    }


def restoration(evidence: Evidence, workspace: Workspace) -> Plot | None:
    """Return the montage of what each method restored in pretraining, None if no example is kept."""
    first: dict[str, Run] = {}
    for (method, _), runs in evidence.runs.items():
        first.setdefault(method, min(runs, key=lambda run: run.seeds))
    read = {method: _examples(first[method], workspace) for method in evidence.methods if method in first}
    rows = {method: found for method, found in read.items() if found}
    if not rows:
        return None
    without = [method for method in read if method not in rows and method not in scratches(evidence)]
    seeds = sorted({first[method].cell.pretraining_seed for method in rows})
    caption = sentences(
        KEPT,
        f"Pretraining seed {', '.join(map(str, seeds))}.",
        f"No example is kept of: {', '.join(without)}." if without else "",
    )
    return Plot("restoration", "Images restored in pretraining", caption, partial(_restoration, rows))


def _examples(run: Run, workspace: Workspace) -> list[list[Array]] | None:
    """Return (input, output, target) of some examples, each (x, y), None if the initialisation holds none."""
    recipe = run.record["recipe"]["initialisation"]
    found = arrays(workspace.path("initialisations", key_of(recipe)) / "examples.npz", PARTS)
    if found is None or not len(found["inputs"]):
        return None
    orientation = orientation_of((recipe.get("corpus") or {}).get("store"))
    count = len(found["inputs"])
    places = [place * (count - 1) // max(TRIPLETS - 1, 1) for place in range(min(TRIPLETS, count))]
    return [[_upright(found[name][place], orientation) for name in PARTS] for place in places]


def _upright(image: Array, orientation: str) -> Array:
    """Return an (x, y) slice turned like all others; as it is where z does not run along the body."""
    return axial(image[:, :, None], orientation)[:, :, 0] if orientation[2] in "IS" else image


def _stem(task: str) -> str:
    """Return a task's label as a file's name: "lcs[steps=80]" as lcs-steps-80."""
    return "-".join(part for part in re.split(r"[^A-Za-z0-9._]+", task) if part)


def _about_runs(runs: Iterable[Run]) -> str:
    seeds = sorted({run.seeds for run in runs})
    if len(seeds) > 1:
        return "Each method's run of the lowest seeds."
    return f"Runs of pretraining seed {seeds[0][0]}, fine-tuning seed {seeds[0][1]}."


def _segmentation(rows: dict[str, list[Slice]], sheet: Sheet) -> None:
    from matplotlib.lines import Line2D

    columns = min(NARROW if sheet.narrow else WIDE, max(len(found) for found in rows.values()))
    room = 0.75 if sheet.narrow else 1.1
    panels = _grid(sheet, len(rows), columns, room, [found[0].truth.shape for found in rows.values()], 0.16)
    ids = [folded(part.id, (sheet.width - room) / columns - 0.08) for part in next(iter(rows.values()))[:columns]]
    sheet.height += max(id_.count("\n") for id_ in ids) * SMALL * LEADING / 72
    for line, (method, found) in enumerate(rows.items()):
        for axes, part in zip(panels[line], found, strict=False):
            _outlined(axes, part)
        _named(panels[line][0], method, room)
    for axes, id_ in zip(panels[0], ids, strict=True):
        axes.set_title(id_, fontsize=SMALL, fontweight="normal")
    truth = Line2D([], [], color=SKY, lw=1.4)
    predicted = Line2D([], [], color=ORANGE, lw=1.4, linestyle=DASHES)
    sheet.legend([truth, predicted], ["truth", "prediction (probability above 0.5)"])


def _outlined(axes: Axes, part: Slice) -> None:
    width, height = (side * pixels for side, pixels in zip(part.sides, part.truth.shape, strict=True))
    image = part.probability if part.image is None else part.image
    axes.imshow(image.T, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="none",
                extent=(0, width, 0, height))  # fmt: skip
    _outline(axes, part.truth, part.sides, SKY, "solid")
    _outline(axes, part.probability > 0.5, part.sides, ORANGE, DASHES)
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(0, height))
    if part.dice is not None:
        axes.set_xlabel(f"Dice {100 * part.dice:.0f} %", fontsize=SMALL, labelpad=1.5)


def _outline(axes: Axes, mask: Array, sides: tuple[float, float], colour: str, line: Any) -> None:
    """Draw a contour round `mask`, closed where it runs out of the picture, dark on either side to show on any grey."""
    from matplotlib.patheffects import withStroke

    if not mask.any():
        return
    padded = np.pad(mask.astype(np.float32), 1)
    x, y = (side * (np.arange(-1, pixels + 1) + 0.5) for side, pixels in zip(sides, mask.shape, strict=True))
    contour = axes.contour(x, y, padded.T, levels=[0.5], colors=[colour], linestyles=[line], linewidths=1.1)
    contour.set(path_effects=[withStroke(linewidth=1.9, foreground="#00000099")])


def _restoration(rows: dict[str, list[list[Array]]], sheet: Sheet) -> None:
    examples = max(len(found) for found in rows.values())
    across = 1 if sheet.narrow else examples
    room = 0.75 if sheet.narrow else 1.1
    lines = [(method, found[first : first + across])
             for method, found in rows.items() for first in range(0, len(found), across)]  # fmt: skip
    panels = _grid(sheet, len(lines), 3 * across, room, [chunk[0][0].shape for _, chunk in lines], 0.05)
    for line, (method, chunk) in enumerate(lines):
        pictures = [image for triplet in chunk for image in triplet]
        for place, axes in enumerate(panels[line]):
            if place < len(pictures):
                axes.imshow(pictures[place].T, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="none")
            axes.set(xticks=[], yticks=[])
            if line == 0:
                axes.set_title(CALLED[place % 3], fontsize=SMALL, fontweight="normal")
        if line == 0 or lines[line - 1][0] != method:
            _named(panels[line][0], method, room)


def _grid(
    sheet: Sheet, down: int, across: int, room: float, shapes: Sequence[tuple[int, ...]], foot: float
) -> list[list[Axes]]:
    """Return `down` rows of `across` panels, as high as their pictures and `foot` inches beneath need."""
    side = (sheet.width - room) / across
    height = side * max(shape[1] / shape[0] for shape in shapes)
    found = sheet.panels(down * across, across=across, height=min(min(height, 2 * side) + foot, TALL / down))
    for axes in found:
        for spine in axes.spines.values():
            spine.set_visible(False)
    return [found[line * across : (line + 1) * across] for line in range(down)]


def _named(axes: Axes, method: str, room: float) -> None:
    axes.set_ylabel(folded(method, room - 0.12), rotation=0, ha="right", va="center", fontsize=SMALL)
