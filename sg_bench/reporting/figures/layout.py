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
    text_width,
    wrap_text,
)
from sg_bench.workspace import write_atomic

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """One figure: its name, title and caption, and the function that draws its panels on a layout."""

    name: str
    """The file's stem."""
    title: str
    caption: str
    draw: Callable[[FigureLayout], None] = field(compare=False)


class FigureLayout:
    """A matplotlib figure of given width; its height grows as panels, legend and caption are added."""

    def __init__(self, width: float) -> None:
        from matplotlib.figure import Figure

        self.width = width
        self.figure: Figure = Figure(figsize=(width, width), layout="constrained")
        self.height = 0.08

    @property
    def narrow(self) -> bool:
        """Return whether the figure has the width of a column."""
        return self.width < (PAGE + COLUMN) / 2

    def share(self, axes: Axes) -> float:
        """Return the width in inches of a panel with its labels."""
        place = axes.get_subplotspec()
        return self.width / (place.get_gridspec().ncols if place else 1)

    def panels(self, count: int, *, across: int, height: float) -> list[Axes]:
        """Return `count` panels of `height` inches, at most `across` in a row, row by row."""
        across = min(across, count)
        down = -(-count // across)
        grid = self.figure.subplots(down, across, squeeze=False)
        self.height += down * height
        found = [axes for row in grid for axes in row]
        for spare in found[count:]:
            spare.remove()
        return found[:count]

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
        width = (self.width - names_width) / across - (0.1 if names_width else 0.5)
        titles = [fold_label(title, width / 1.1, BODY) for title, _ in headings]  # bold text is a tenth wider
        lines = max(title.count("\n") for title in titles)
        found = self.panels(len(headings), across=across, height=height + lines * BODY * LEADING / 72)
        for axes, title, (_, note) in zip(found, titles, headings, strict=True):
            axes.set_title(title, loc="left", pad=4 + SMALL * LEADING * bool(note))
            axes.annotate(
                note, (0, 1), xytext=(0, 3.5), xycoords="axes fraction", textcoords="offset points", fontsize=SMALL
            )
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
            loc="outside upper left",
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.0,
            labelspacing=0.35,
            borderpad=0.2,
        )
        self.height += rows * lines * SMALL * 1.45 / 72 + 0.06

    def caption(self, text: str) -> None:
        """Add `text` below the panels, wrapped to the width of the figure."""
        lines = wrap_text(text, self.width - 0.12, SMALL)
        self.figure.supxlabel(
            "\n".join(lines), x=0.06 / self.width, ha="left", ma="left", fontsize=SMALL, linespacing=LEADING
        )
        self.height += len(lines) * SMALL * LEADING / 72 + 0.1


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
        place = axes.get_subplotspec()
        first = place is None or place.is_first_col()
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


def cut_mark(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Mark the start of an axis that does not start at zero with //."""
    places = ([0.012, 0.026], [0, 0]) if axis == "x" else ([0, 0], [0.02, 0.045])
    slash = [(-1, -2.2), (1, 2.2)] if axis == "x" else [(-2.2, -1), (2.2, 1)]
    axes.plot(
        *places, transform=axes.transAxes, marker=slash, markersize=5, linestyle="none", color="k", mew=0.6,
        clip_on=False, zorder=10,
    )  # fmt: skip


def files_of(plot: Plot, folder: Path) -> list[Path]:
    """Return the paths of a figure's files: SVG and PDF for a page, then for a column."""
    return [folder / f"{plot.name}{ending}.{kind}" for ending in ("", "-column") for kind in ("svg", "pdf")]


def save(plot: Plot, folder: Path) -> list[Path]:
    """Draw `plot` for a page and a column, each as SVG and PDF, into `folder`; return their paths."""
    paths = files_of(plot, folder)
    with figure_settings():
        for width, pair in ((PAGE, paths[:2]), (COLUMN, paths[2:])):
            layout = drawn(plot, width)
            for path in pair:
                write_atomic(path, _bytes(layout.figure, plot, "svg" if path.suffix == ".svg" else "pdf"))
    return paths


def drawn(plot: Plot, width: float) -> FigureLayout:
    """Return the layout of `width` inches with `plot` and its caption drawn."""
    layout = FigureLayout(width)
    plot.draw(layout)
    layout.caption(plot.caption)
    layout.figure.set_size_inches(width, layout.height)
    engine = layout.figure.get_layout_engine()
    assert engine is not None
    for _ in range(2):  # constrained layout needs a second pass after the first has moved things
        engine.execute(layout.figure)
    layout.figure.set_layout_engine(None)  # with "none", a placeholder, saving draws everything twice
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
