"""Layout of a figure: a legend, panels and a caption, for the width of a page and of a column."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sg_bench.reporting.figures.style import (
    BODY,
    COLUMN,
    LEADING,
    PAGE,
    SMALL,
    TALL,
    figure_settings,
    fold_label,
    outlines_only,
    text_width,
    wrap_text,
)
from sg_bench.workspace import write_atomic

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CAPTION = "caption"
BELOW = 0.36
"""Height of the labels below a panel in inches."""


@dataclass(frozen=True)
class Plot:
    """One figure: its name, title and caption, and the function that draws its panels on a layout."""

    name: str
    """The file's stem."""
    title: str
    caption: str
    draw: Callable[[FigureLayout], None] = field(compare=False)


@dataclass(frozen=True)
class PanelPlace:
    """Where a panel is drawn: its axes without labels, in inches from the left and from the top of all panels."""

    left: float
    top: float
    width: float
    height: float
    column: int


class FigureLayout:
    """A matplotlib figure of given width; its height grows as panels, legend and caption are added.

    Panels have margins of known size for their labels: matplotlib's own layouts measure every label several times,
    which takes longer than drawing.
    """

    def __init__(self, width: float) -> None:
        from matplotlib.figure import Figure

        self.width = width
        self.figure: Figure = Figure(figsize=(width, width))
        self.head = 0.04
        """Height of the legend in inches."""
        self.body = 0.0
        """Height of the panels in inches."""
        self.foot = 0.04
        """Height of the caption in inches."""
        self.places: dict[Axes, PanelPlace] = {}

    @property
    def height(self) -> float:
        """Return the height of the figure in inches."""
        return self.head + self.body + self.foot

    @property
    def narrow(self) -> bool:
        """Return whether the figure has the width of a column."""
        return self.width < (PAGE + COLUMN) / 2

    def add_panel(self, left: float, top: float, width: float, height: float, column: int = 0) -> Axes:
        """Return new axes at a place in inches; `top` counts from the upper end of all panels."""
        axes = self.figure.add_axes((0, 0, 1, 1), label=str(len(self.places)))
        self.places[axes] = PanelPlace(left, top, width, height, column)
        return axes

    def charts(
        self, headings: Sequence[tuple[str, str]], *, min_width: float, height: float, names_width: float = 0
    ) -> list[Axes]:
        """Return a panel for each (title, note), at most three in a row, rows of even length.

        The note, such as "n = 3 pretraining seeds", is printed below the title.

        Args:
            headings: title and note of each panel.
            min_width: minimum width of a panel with its labels in inches.
            height: height of a panel with title, note and axis in inches.
            names_width: width of the names at the left of a row in inches.
        """
        across = self.across(len(headings), min_width, names_width)
        share = (self.width - names_width) / across
        left, right = (0.06, 0.16) if names_width else (0.56, 0.17)
        titles = [fold_label(title, (share - right) / 1.1 - left, BODY) for title, _ in headings]  # bold is wider
        lines = max(title.count("\n") for title in titles) + 1
        above = (lines * BODY * LEADING + SMALL * LEADING + 6) / 72
        full = height + (lines - 1) * BODY * LEADING / 72
        found = []
        for index, (title, (_, note)) in enumerate(zip(titles, headings, strict=True)):
            row, column = divmod(index, across)
            start = names_width + column * share
            axes = self.add_panel(
                start + left, self.body + row * full + above, share - left - right, full - above - BELOW, column
            )
            axes.set_title(title, loc="left", pad=4 + SMALL * LEADING * bool(note))
            axes.annotate(
                note, (0, 1), xytext=(0, 3.5), xycoords="axes fraction", textcoords="offset points", fontsize=SMALL
            )
            found.append(axes)
        self.body += -(-len(headings) // across) * full
        return found

    def across(self, count: int, min_width: float, names_width: float = 0) -> int:
        """Return the number of panels per row, so that the rows are filled evenly."""
        most = max(1, min(3, int((self.width - names_width) / min_width), count))
        return -(-count // -(-count // most))

    def legend(self, handles: Sequence[Artist], labels: Sequence[str]) -> None:
        """Add a legend above the panels, in as many columns as fit."""
        labels = [fold_label(label, self.width - 0.6) for label in labels]
        lines = max(label.count("\n") + 1 for label in labels)
        widest = max(text_width(line, SMALL) for label in labels for line in label.split("\n")) + 0.45
        columns = max(1, min(len(labels), int(self.width / widest)))
        rows = -(-len(labels) // columns)
        # matplotlib fills a legend column by column; it is read row by row.
        order = [place for first in range(columns) for place in range(first, len(labels), columns)]
        self.figure.legend(
            [handles[place] for place in order],
            [labels[place] for place in order],
            loc="upper left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.3,
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.0,
            labelspacing=0.35,
            borderpad=0.2,
        )
        self.head += rows * lines * SMALL * 1.45 / 72 + 0.1

    def caption(self, text: str) -> None:
        """Add `text` below the panels, wrapped to the width of the figure; its group in an SVG has the id "caption"."""
        lines = wrap_text(text, self.width - 0.12, SMALL)
        self.foot += len(lines) * SMALL * LEADING / 72 + 0.06
        drawn = self.figure.text(
            0.06 / self.width, 0, "\n".join(lines), va="bottom", fontsize=SMALL, linespacing=LEADING
        )
        drawn.set_gid(CAPTION)
        drawn.set_y(0.04 / self.height)

    def place(self) -> None:
        """Give the figure its height, and its panels their places."""
        self.figure.set_size_inches(self.width, self.height)
        for axes, place in self.places.items():
            bottom = self.foot + self.body - place.top - place.height
            axes.set_position(
                (place.left / self.width, bottom / self.height, place.width / self.width, place.height / self.height)
            )


def charts_with_named_rows(
    layout: FigureLayout, headings: Sequence[tuple[str, str]], names: Sequence[str], *, row: float
) -> list[Axes]:
    """Return charts with one row per name, `row` inches high; the names are printed once per line of charts."""
    labels, width = _names(names, 0.95 if layout.narrow else 1.25)
    lines = max(label.count("\n") + 1 for label in labels)
    min_width = 1.15 if layout.narrow else 1.8
    down = -(-len(headings) // layout.across(len(headings), min_width, width))
    row = max(lines * SMALL * 1.15 / 72 + 0.02, min(row, (TALL / down - 0.72) / len(names)))
    found = layout.charts(headings, min_width=min_width, height=0.72 + row * len(names), names_width=width)
    for axes in found:
        first = layout.places[axes].column == 0
        axes.set_yticks(range(len(names)), labels if first else [""] * len(names), linespacing=1.05)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    return found


def _names(names: Sequence[str], width: float) -> tuple[list[str], float]:
    """Return names folded to `width` inches, or up to 1.8 times as wide if that avoids a third line."""
    for share in (1.0, 1.2, 1.4, 1.6, 1.8):
        labels = [fold_label(name, width * share) for name in names]
        if all(label.count("\n") < 2 for label in labels):
            break
    return labels, width * share


def write_counts(axes: Axes, counts: Sequence[int | None]) -> None:
    """Write "n=2" at the right of each row if the numbers of units of a chart differ."""
    if len({count for count in counts if count is not None}) < 2:
        return
    for place, count in enumerate(counts):
        if count is not None:
            axes.text(1.01, place, f"n={count}", transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)


def path_of(plot: Plot, folder: Path) -> Path:
    """Return the path of a figure's file in a report."""
    return folder / f"{plot.name}.svg"


def save(plot: Plot, folder: Path) -> None:
    """Draw `plot` for a page, as SVG, into `folder`."""
    with figure_settings():
        write_atomic(path_of(plot, folder), _bytes(drawn(plot, PAGE).figure, plot, "svg"))


def save_for_paper(plot: Plot, folder: Path) -> list[Path]:
    """Draw `plot` for a page (NAME.pdf) and for a column (NAME-column.pdf) into `folder`; return the paths."""
    paths = [folder / f"{plot.name}.pdf", folder / f"{plot.name}-column.pdf"]
    with figure_settings(), outlines_only():
        for width, path in zip((PAGE, COLUMN), paths, strict=True):
            write_atomic(path, _bytes(drawn(plot, width).figure, plot, "pdf"))
    return paths


def drawn(plot: Plot, width: float) -> FigureLayout:
    """Return the layout of `width` inches with `plot` and its caption drawn."""
    layout = FigureLayout(width)
    plot.draw(layout)
    layout.caption(plot.caption)
    layout.place()
    return layout


def _bytes(figure: Figure, plot: Plot, kind: Literal["svg", "pdf"]) -> bytes:
    buffer = io.BytesIO()
    without_dates = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    texts = {"Title": plot.title, ("Description" if kind == "svg" else "Subject"): plot.caption}
    figure.savefig(buffer, format=kind, metadata={**without_dates[kind], **texts})
    return buffer.getvalue()
