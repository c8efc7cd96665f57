"""A figure's sheet: panels, a legend above them, a caption beneath, drawn for a page and for a paper's column."""

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
    folded,
    settings,
    text_width,
    wrapped_to,
)
from sg_bench.workspace import write_atomic

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """One figure: what it is called, what is told beneath it, and how it is drawn on a sheet of either width."""

    name: str
    """The file's stem."""
    title: str
    caption: str
    draw: Callable[[Sheet], None] = field(compare=False)


class Sheet:
    """A figure that grows from the top: panels, a legend above them, a caption beneath."""

    def __init__(self, width: float) -> None:
        from matplotlib.figure import Figure

        self.width = width
        self.figure: Figure = Figure(figsize=(width, width), layout="constrained")
        self.height = 0.08

    @property
    def narrow(self) -> bool:
        """Return whether this is the variant for a paper's column."""
        return self.width < (PAGE + COLUMN) / 2

    def share(self, axes: Axes) -> float:
        """Return the inches of the sheet's width that fall to a panel and what stands beside it."""
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
        self, headings: Sequence[tuple[str, str]], *, least: float, height: float, beside: float = 0
    ) -> list[Axes]:
        """Return a panel for each (title, note), at most three in a row, rows of even length.

        The note, on what n is, stands beneath the title, so that a long title never meets it.

        Args:
            headings: title and note of each panel.
            least: inches that a panel needs with what stands beside it.
            height: inches of a panel with title, note and axis.
            beside: inches that are taken by names on the left of a row.
        """
        across = self.across(len(headings), least, beside)
        width = (self.width - beside) / across - (0.1 if beside else 0.5)
        titles = [folded(title, width / 1.1, BODY) for title, _ in headings]  # bold is a tenth wider
        lines = max(title.count("\n") for title in titles)
        found = self.panels(len(headings), across=across, height=height + lines * BODY * LEADING / 72)
        for axes, title, (_, note) in zip(found, titles, headings, strict=True):
            axes.set_title(title, loc="left", pad=4 + SMALL * LEADING * bool(note))
            axes.annotate(
                note, (0, 1), xytext=(0, 3.5), xycoords="axes fraction", textcoords="offset points", fontsize=SMALL
            )
        return found

    def across(self, count: int, least: float, beside: float = 0) -> int:
        """Return how many of `count` panels stand in each row, that all rows be as full."""
        most = max(1, min(3, int((self.width - beside) / least), count))
        return -(-count // -(-count // most))

    def legend(self, handles: Sequence[Artist], labels: Sequence[str]) -> None:
        """Print a legend above the panels, in as many columns as fit."""
        labels = [folded(label, self.width - 0.6) for label in labels]
        lines = max(label.count("\n") + 1 for label in labels)
        widest = max(text_width(line, SMALL) for label in labels for line in label.split("\n")) + 0.45
        columns = max(1, min(len(labels), int(self.width / widest)))
        rows = -(-len(labels) // columns)
        # matplotlib fills column by column; a legend reads row by row.
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
        """Print `text` beneath the panels, wrapped to the sheet's width."""
        lines = wrapped_to(text, self.width - 0.12, SMALL)
        self.figure.supxlabel(
            "\n".join(lines), x=0.06 / self.width, ha="left", ma="left", fontsize=SMALL, linespacing=LEADING
        )
        self.height += len(lines) * SMALL * LEADING / 72 + 0.1


def across_rows(sheet: Sheet, headings: Sequence[tuple[str, str]], names: Sequence[str], *, row: float) -> list[Axes]:
    """Return charts whose rows, `row` inches high, are `names` from the top, printed once for each line of charts."""
    labels, width = _names(names, 0.95 if sheet.narrow else 1.25)
    lines = max(label.count("\n") + 1 for label in labels)
    least = 1.15 if sheet.narrow else 1.8
    down = -(-len(headings) // sheet.across(len(headings), least, width))
    row = max(lines * SMALL * 1.15 / 72 + 0.02, min(row, (TALL / down - 0.72) / len(names)))
    found = sheet.charts(headings, least=least, height=0.72 + row * len(names), beside=width)
    for axes in found:
        place = axes.get_subplotspec()
        first = place is None or place.is_first_col()
        axes.set_yticks(range(len(names)), labels if first else [""] * len(names), linespacing=1.05)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    return found


def _names(names: Sequence[str], width: float) -> tuple[list[str], float]:
    """Return names folded to `width` inches, or to as much more as two lines of each need, up to 1.8 times."""
    for share in (1.0, 1.2, 1.4, 1.6, 1.8):
        labels = [folded(name, width * share) for name in names]
        if all(label.count("\n") < 2 for label in labels):
            break
    return labels, width * share


def counts_beside(axes: Axes, counts: Sequence[int | None]) -> None:
    """Print "n=2" at the right of each row where a chart's numbers of units differ."""
    if len({count for count in counts if count is not None}) < 2:
        return
    for place, count in enumerate(counts):
        if count is not None:
            axes.text(1.01, place, f"n={count}", transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)


def cut_mark(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Strike the foot of an axis that does not start at zero."""
    places = ([0.012, 0.026], [0, 0]) if axis == "x" else ([0, 0], [0.02, 0.045])
    slash = [(-1, -2.2), (1, 2.2)] if axis == "x" else [(-2.2, -1), (2.2, 1)]
    axes.plot(
        *places, transform=axes.transAxes, marker=slash, markersize=5, linestyle="none", color="k", mew=0.6,
        clip_on=False, zorder=10,
    )  # fmt: skip


def save(plot: Plot, folder: Path) -> list[Path]:
    """Draw `plot` for a page and a column, each as SVG and PDF, into `folder`; return their paths."""
    written = []
    with settings():
        for width, ending in ((PAGE, ""), (COLUMN, "-column")):
            sheet = drawn(plot, width)
            for kind in ("svg", "pdf"):
                path = folder / f"{plot.name}{ending}.{kind}"
                write_atomic(path, _bytes(sheet.figure, plot, "svg" if kind == "svg" else "pdf"))
                written.append(path)
    return written


def drawn(plot: Plot, width: float) -> Sheet:
    """Return the sheet of `width` inches on which `plot` stands with its caption."""
    sheet = Sheet(width)
    plot.draw(sheet)
    sheet.caption(plot.caption)
    sheet.figure.set_size_inches(width, sheet.height)
    for _ in range(2):  # the second time round the layout knows what the first one moved
        sheet.figure.draw_without_rendering()
    sheet.figure.set_layout_engine("none")
    return sheet


def _bytes(figure: Figure, plot: Plot, kind: Literal["svg", "pdf"]) -> bytes:
    buffer = io.BytesIO()
    dateless = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    told = {"Title": plot.title, ("Description" if kind == "svg" else "Subject"): plot.caption}
    figure.savefig(buffer, format=kind, metadata={**dateless[kind], **told})
    return buffer.getvalue()
