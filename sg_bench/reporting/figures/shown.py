"""A figure for notebooks and scripts: drawn on use, shown as a picture, saved in any format of matplotlib."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sg_bench.reporting.figures.layout import Plot, drawn
from sg_bench.reporting.figures.style import PAGE, figure_settings, outlines_only

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESOLUTION = 110
"""Dots per inch in a notebook."""


@dataclass(frozen=True)
class ShownFigure:
    """One figure of a report."""

    plot: Plot
    width: float = PAGE
    """In inches."""

    @property
    def caption(self) -> str:
        """Return the caption, which the figure includes."""
        return self.plot.caption

    @cached_property
    def figure(self) -> Figure:
        """The figure of matplotlib."""
        with figure_settings():
            return drawn(self.plot, self.width).figure

    def save(self, path: Path | str) -> Path:
        """Write the figure in the format of the file's ending, such as .png, .svg or .pdf, and return the path."""
        with figure_settings(), outlines_only():
            self.figure.savefig(Path(path))
        return Path(path)

    def __repr__(self) -> str:
        return f"{self.plot.title}. {self.caption}"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with figure_settings():
            self.figure.savefig(buffer, format="png", dpi=RESOLUTION)
        return buffer.getvalue()
