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
from sg_bench.reporting.figures.style import LEADING, ORANGE, SKY, SMALL, TALL, fold_label, text_width
from sg_bench.reporting.figures.summaries import absent_sentence, full_tasks, scratch_labels, sentences
from sg_bench.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ImageBounds = tuple[float, float, float, float]
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
    read = {method: restored_examples(first[method], workspace) for method in evidence.methods if method in first}
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


def restored_examples(run: Run, workspace: Workspace) -> list[list[PixelArray]] | None:
    """Return (input, output, target) of some examples, each (x, y), None if the initialisation has none."""
    recipe = run.record["recipe"]["initialisation"]
    if workspace.remote:
        workspace.remote.fetch_file("initialisations", key_of(recipe), "examples.npz")
    found = read_arrays(workspace.path("initialisations", key_of(recipe)) / "examples.npz", PARTS)
    if found is None or not len(found["inputs"]):
        return None
    orientation = orientation_of((recipe.get("corpus") or {}).get("store"))
    count = len(found["inputs"])
    places = [place * (count - 1) // max(TRIPLETS - 1, 1) for place in range(min(TRIPLETS, count))]
    return [[upright(found[name][place], orientation) for name in PARTS] for place in places]


def upright(image: PixelArray, orientation: str) -> PixelArray:
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
    ids = [part.id for part in next(iter(rows.values()))[:columns]]
    grid = ImageGrid(layout, list(rows), ids, max(_ratio(found[0].truth) for found in rows.values()), foot=0.16)
    for line, found in enumerate(rows.values()):
        for column, part in enumerate(found[:columns]):
            _outlined(grid, line, column, part)
    truth = Line2D([], [], color=SKY, lw=1.4)
    predicted = Line2D([], [], color=ORANGE, lw=1.4, linestyle=DASHES)
    layout.legend([truth, predicted], ["truth", "prediction (probability above 0.5)"])


def _outlined(grid: ImageGrid, line: int, column: int, part: AxialSlice) -> None:
    sides = [side * pixels for side, pixels in zip(part.sides, part.truth.shape, strict=True)]
    note = "" if part.dice is None else f"Dice {100 * part.dice:.0f} %"
    box = grid.image(line, column, part.probability if part.image is None else part.image, sides[1] / sides[0], note)
    grid.outline(box, part.truth, SKY, "solid")
    grid.outline(box, part.probability > 0.5, ORANGE, DASHES)


def _restoration(rows: dict[str, list[list[PixelArray]]], layout: FigureLayout) -> None:
    across = 1 if layout.narrow else max(len(found) for found in rows.values())
    lines = [(method if first == 0 else "", found[first : first + across])
             for method, found in rows.items() for first in range(0, len(found), across)]  # fmt: skip
    ratio = max(_ratio(chunk[0][0]) for _, chunk in lines)
    grid = ImageGrid(layout, [method for method, _ in lines], [*PART_TITLES] * across, ratio, foot=0.05)
    for line, (_, chunk) in enumerate(lines):
        for column, image in enumerate(image for triplet in chunk for image in triplet):
            grid.image(line, column, image, _ratio(image))


def _ratio(image: PixelArray) -> float:
    """Return the height of an (x, y) image relative to its width."""
    return float(image.shape[1] / image.shape[0])


class ImageGrid:
    """Images in rows with names and columns with titles, on one pair of axes, whose unit is an inch.

    A pair of axes for each image would take most of the time of a montage.
    """

    def __init__(
        self, layout: FigureLayout, names: Sequence[str], titles: Sequence[str], ratio: float, *, foot: float
    ) -> None:
        """Write the names and titles.

        Args:
            layout: the layout to draw on.
            names: names of the rows.
            titles: titles of the columns.
            ratio: height of the highest image relative to its width.
            foot: height of the note below each image in inches.
        """
        width = layout.width - 0.09
        labels = [fold_label(name, 0.63 if layout.narrow else 0.98) for name in names]
        label_width = max(text_width(line, SMALL) for label in labels for line in label.split("\n"))
        self.step = (width - label_width) / len(titles)
        self.side = self.step - 0.1
        self.high = min(min(self.side * ratio, 2 * self.side), TALL / len(names) - foot - 0.03)
        self.row = self.high + foot + 0.03
        folded = [fold_label(title, self.side) for title in titles]
        head = (1 + max(title.count("\n") for title in folded)) * SMALL * LEADING / 72 + 0.04
        self.left, self.top = label_width, len(names) * self.row
        self.axes: Axes = layout.add_panel(0.04, layout.body, width, self.top + head)
        self.axes.set(xlim=(0, width), ylim=(0, self.top + head))
        layout.body += self.top + head
        self.axes.set_axis_off()
        for column, title in enumerate(folded):
            x, y = self._centre(0, column)
            self.axes.text(x, y + self.high / 2 + 0.05, title, ha="center", va="bottom", fontsize=SMALL)
        for line, label in enumerate(labels):
            y = self._centre(line, 0)[1]
            self.axes.text(label_width, y, label, ha="right", va="center", ma="right", fontsize=SMALL)

    def image(self, line: int, column: int, image: PixelArray, ratio: float, note: str = "") -> ImageBounds:
        """Draw an (x, y) image of values in [0, 1] with a note below it.

        Returns:
            Its left, right, lower and upper end in inches.
        """
        x, y = self._centre(line, column)
        width = min(self.side, self.high / ratio)
        box = (x - width / 2, x + width / 2, y - width * ratio / 2, y + width * ratio / 2)
        limits = self.axes.get_xlim(), self.axes.get_ylim()
        self.axes.imshow(image.T, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="none", extent=box)
        self.axes.set(xlim=limits[0], ylim=limits[1])
        self.axes.text(x, box[2] - 0.03, note, ha="center", va="top", fontsize=SMALL)
        return box

    def outline(self, box: ImageBounds, mask: PixelArray, colour: str, line: Any) -> None:
        """Draw a contour around an (x, y) mask, closed at the image's border, with a dark outline."""
        from contourpy import contour_generator
        from matplotlib.collections import LineCollection
        from matplotlib.patches import Rectangle
        from matplotlib.patheffects import withStroke

        left, right, low, high = box
        x, y = (start + (end - start) / pixels * (np.arange(-1, pixels + 1) + 0.5)
                for start, end, pixels in zip((left, low), (right, high), mask.shape, strict=True))  # fmt: skip
        found: Any = contour_generator(x, y, np.pad(mask.astype(np.float32), 1).T).lines(0.5)
        shadow = [withStroke(linewidth=1.9, foreground="#00000099")]
        lines = LineCollection(found, colors=[colour], linewidths=1.1, linestyles=[line], path_effects=shadow)
        self.axes.add_collection(lines, autolim=False)
        lines.set_clip_path(Rectangle((left, low), right - left, high - low, transform=self.axes.transData))

    def _centre(self, line: int, column: int) -> tuple[float, float]:
        """Return the centre of an image in inches."""
        return self.left + (column + 0.5) * self.step, self.top - line * self.row - self.high / 2
