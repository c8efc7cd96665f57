"""How every figure looks: colours that a colour-blind reader tells apart, sizes that a paper column can print.

A figure is drawn twice, for a page (7 in) and for a column (3.4 in), in type of at least 6 pt. Nothing here touches
pyplot or leaves a setting of matplotlib changed, and equal numbers give equal bytes: ids are salted with a constant,
no file holds a date, and type is drawn with the font that matplotlib brings along.

Source of the colours: Okabe & Ito, Color Universal Design (2008), a dark violet standing for the
yellow, which white paper swallows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

PAGE = 7.0
COLUMN = 3.4
"""Widths in inches."""
SMALL = 6.0
BODY = 6.5
"""Type sizes in points."""
LEADING = 1.3
"""Height of a line of type over its size."""
TALL = 7.6
"""Inches that the panels of a figure may take, so that it stands on a page with legend and caption."""

GREY = "#6B6B6B"
PALE = "#C8C8C8"
BLUE = "#0072B2"
ORANGE = "#E69F00"
SKY = "#56B4E9"
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", ORANGE, SKY, "#44337A")
MARKERS = "osD^vPX*"
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "||||", "++")

SETTINGS: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": BODY,
    "axes.titlesize": BODY,
    "axes.titleweight": "bold",
    "axes.labelsize": BODY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "sg-bench",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "figure.dpi": 72,
    "text.hinting": "none",
}


@dataclass(frozen=True)
class Look:
    """What tells one method from the others: each of the four does it alone."""

    colour: str
    marker: str
    line: Any
    hatch: str


def looks(methods: Sequence[str], plain: Sequence[str] = ()) -> dict[str, Look]:
    """Return a look for each method in order; `plain` ones (training from scratch) are grey."""
    coloured = [method for method in methods if method not in plain]
    cycles = zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), cycle(HATCHES), strict=False)
    found = {method: Look(*parts) for method, parts in zip(coloured, islice(cycles, 1, None), strict=False)}
    first = {method: Look(GREY, MARKERS[0], LINES[0], HATCHES[0]) for method in plain}
    return {method: (first | found)[method] for method in methods}


def text_width(text: str, size: float) -> float:
    """Return the width in inches of one line of type of `size` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=SETTINGS["font.family"], size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrapped_to(text: str, width: float, size: float) -> list[str]:
    """Return the words of `text` in lines no wider than `width` inches."""
    space = text_width("a a", size) - text_width("aa", size)
    lines: list[list[str]] = [[]]
    used = 0.0
    for word in filter(None, text.split(" ")):
        length = text_width(word, size)
        if lines[-1] and used + space + length > width:
            lines.append([])
            used = 0.0
        used += length + (space if lines[-1] else 0.0)
        lines[-1].append(word)
    return [" ".join(line) for line in lines]


def folded(label: str, width: float, size: float = SMALL) -> str:
    """Return a label in lines of at most `width` inches, broken at its joints, and inside a part only if it must."""
    lines = [""]
    for part in _parts(label):
        if lines[-1] and text_width(lines[-1] + part, size) > width:
            lines.append("")
        for letter in part:
            if lines[-1] and text_width(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return "\n".join(line.strip() for line in lines)


def _parts(label: str) -> list[str]:
    """Return the parts of a label: it may be broken behind _ - . , and a space, and before + and [."""
    return re.findall(r"[\[+]?[^\[+_\-., ]*[_\-., ]*", label)


@contextmanager
def settings() -> Iterator[None]:
    """Use matplotlib's own defaults and `SETTINGS`, whatever this machine's matplotlibrc says; then put all back."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield
