"""Preview of prepared data: one slice per case with its label outlined and its candidates circled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.prepare import PreparedCase, VoxelCandidate
from sg_bench.reporting.figures.style import (
    BLUE,
    BODY,
    COLOURS,
    LEADING,
    ORANGE,
    SKY,
    SMALL,
    figure_settings,
    fold_label,
    wrap_text,
)
from sg_bench.workspace import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = 2.6
"""Width of a case in inches."""
MAX_COLUMNS = 4
DPI = 150
NODULE, OTHER = "#21D07A", "#FF4B3E"
"""Colours of true findings and of false candidates."""
CLASSES = (ORANGE, SKY, *COLOURS[1:4], BLUE)
UNKNOWN_DIAMETER = 12.0
"""Diameter in mm of the circle around a candidate of unknown size."""
CANDIDATES = 60
"""Most candidates drawn on a slice, true findings first."""


@dataclass(frozen=True)
class CasePicture:
    """One case to draw: a volume prepared with axes along RAS, or a film."""

    title: str
    case: PreparedCase
    note: str = ""
    """Printed below the image, such as a film's findings."""


def write_montage(pictures: Sequence[CasePicture], path: Path) -> None:
    """Write a PNG with a panel for each picture.

    Of a volume, the axial slice with the largest labelled area, else the one through the first true finding, else the
    middle one, with the patient's right on the left; a film is upright, as it is read.
    """
    import io

    from matplotlib.figure import Figure

    across = min(MAX_COLUMNS, len(pictures))
    down = -(-len(pictures) // across)
    shapes = [_extent(picture.case) for picture in pictures]
    height = PANEL * max(min(tall / wide, 1.6) for wide, tall in shapes) + 0.55
    with figure_settings():
        figure = Figure(figsize=(across * PANEL, down * height + 0.25), layout="constrained", facecolor="white")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, picture in zip(panels, pictures, strict=False):
            _draw(axes, picture)
        for spare in panels[len(pictures) :]:
            spare.remove()
        figure.supxlabel("\n".join(_caption(pictures, across * PANEL - 0.2)), fontsize=SMALL)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def _caption(pictures: Sequence[CasePicture], width: float) -> list[str]:
    volumes = any(picture.case.image.shape[2] > 1 for picture in pictures)
    circles = any(visible_candidates(picture.case, slice_of(picture.case)) for picture in pictures)
    parts = ["The patient's right is on the left." if volumes else "Films as they are read."]
    parts += ["Circles: green true findings, red false candidates."] if circles else []
    return wrap_text(" ".join(parts), width, SMALL)


def slice_of(case: PreparedCase) -> int:
    """Return the index along the last axis of the slice to show."""
    depth: int = case.image.shape[2]
    if case.label is not None and case.label.any():
        return int(np.count_nonzero(case.label, axis=(0, 1)).argmax())
    first = next((each for each in case.candidates if each.positive), None)
    return depth // 2 if first is None else min(max(round(first.position[2]), 0), depth - 1)


def display_slice(array: NDArray[Any], index: int) -> NDArray[Any]:
    """Return a slice as image rows: anterior at the top, the patient's right on the left; a film unchanged."""
    plane = array[:, :, index]
    return plane.T if array.shape[2] == 1 else plane[::-1, ::-1].T


def position_in_slice(candidate: VoxelCandidate, shape: Sequence[int]) -> tuple[float, float]:
    """Return a candidate's column and row in the slice that `display_slice` returns."""
    x, y, _ = candidate.position
    return (x, y) if shape[2] == 1 else (shape[0] - 1 - x, shape[1] - 1 - y)


def visible_candidates(case: PreparedCase, index: int) -> list[tuple[VoxelCandidate, float]]:
    """Return the candidates whose sphere the slice intersects, with their radius in mm, true findings first."""
    cut = []
    for candidate in case.candidates:
        half = (candidate.diameter or UNKNOWN_DIAMETER) / 2
        apart = abs(candidate.position[2] - index) * case.spacing[2]
        if apart <= max(half, case.spacing[2] / 2):
            cut.append((candidate, half))
    return sorted(cut, key=lambda each: not each[0].positive)[:CANDIDATES]


def _extent(case: PreparedCase) -> tuple[float, float]:
    """Return the width and height of a slice in mm."""
    return case.image.shape[0] * case.spacing[0], case.image.shape[1] * case.spacing[1]


def _draw(axes: Axes, picture: CasePicture) -> None:
    from matplotlib.patches import Ellipse

    case, index = picture.case, slice_of(picture.case)
    image = display_slice(case.image, index).astype(np.float32)
    axes.imshow(
        image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased", aspect=case.spacing[1] / case.spacing[0]
    )
    if case.label is not None:
        _outlines(axes, display_slice(case.label, index))
    for candidate, half in visible_candidates(case, index):
        sides = (2 * half / case.spacing[0], 2 * half / case.spacing[1])
        colour = NODULE if candidate.positive else OTHER
        centre = position_in_slice(candidate, case.image.shape)
        axes.add_patch(Ellipse(centre, *(1.6 * side for side in sides), fill=False, ec=colour, lw=1.0))
    axes.set_title(fold_label(picture.title, PANEL - 0.15, BODY), fontsize=BODY, linespacing=LEADING)
    axes.set_xlabel("\n".join(_note_lines(picture, index)), fontsize=SMALL)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _note_lines(picture: CasePicture, index: int) -> list[str]:
    depth = picture.case.image.shape[2]
    slice_note = f"slice {index + 1} of {depth}" if depth > 1 else ""
    return [line for line in (slice_note, fold_label(picture.note, PANEL - 0.15)) if line]


def _outlines(axes: Axes, label: NDArray[np.uint8]) -> None:
    """Draw the border of each class; a contour needs two pixels per side."""
    if min(label.shape) < 2:
        return
    for number in np.unique(label[label > 0]).tolist():
        colour = CLASSES[(number - 1) % len(CLASSES)]
        axes.contour(np.pad(label == number, 1).astype(np.float32), [0.5], colors=[colour], linewidths=0.9,
                     extent=(-1, label.shape[1], -1, label.shape[0]))  # fmt: skip
