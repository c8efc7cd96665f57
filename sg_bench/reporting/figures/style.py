"""Common style of all figures: colours for colour-blind readers, font sizes and widths for printed columns.

A figure is drawn twice, for a page (7 in) and for a column (3.4 in), with fonts of at least 6 pt. pyplot is not used
and matplotlib's settings are restored. Equal numbers give equal bytes: ids are salted with a constant, files contain
no date, and the font is the one included in matplotlib.

Source of the colours: Okabe & Ito, Color Universal Design (2008), with dark violet instead of
yellow, which is hardly visible on white paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from typing import Any

PAGE = 7.0
COLUMN = 3.4
"""Widths in inches."""
SMALL = 6.0
BODY = 6.5
"""Font sizes in points."""
LEADING = 1.3
"""Line height relative to the font size."""
TALL = 7.6
"""Maximum height of the panels in inches, so that a figure with legend and caption fits on a page."""

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
    "image.composite_image": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sg-bench",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "figure.dpi": 72,
    "text.hinting": "none",
}
OUTLINE_TABLES = frozenset({"glyf", "head", "hhea", "hmtx", "loca", "maxp", "cvt ", "fpgm", "prep"})
"""Tables of a TrueType font that a PDF needs if it selects glyphs by index (ISO 32000-1, section 9.9)."""


@dataclass(frozen=True)
class MethodStyle:
    """Colour, marker, line style and hatch of a method; each alone identifies it (in cycles)."""

    colour: str
    marker: str
    line: Any
    hatch: str


def method_styles(methods: Sequence[str], scratch: Sequence[str] = ()) -> dict[str, MethodStyle]:
    """Return a style for each method in order; those in `scratch` (training from scratch) are grey."""
    coloured = [method for method in methods if method not in scratch]
    cycles = zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), cycle(HATCHES), strict=False)
    found = {method: MethodStyle(*parts) for method, parts in zip(coloured, islice(cycles, 1, None), strict=False)}
    first = {method: MethodStyle(GREY, MARKERS[0], LINES[0], HATCHES[0]) for method in scratch}
    return {method: (first | found)[method] for method in methods}


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Return the width in inches of one line of text of `size` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=SETTINGS["font.family"], size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrap_text(text: str, width: float, size: float) -> list[str]:
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


def fold_label(label: str, width: float, size: float = SMALL) -> str:
    """Return a label broken into lines of at most `width` inches, after separators where possible."""
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
    """Return the parts of a label, which may be broken after _ - . , and a space, and before + and [."""
    return re.findall(r"[\[+]?[^\[+_\-., ]*[_\-., ]*", label)


@contextmanager
def figure_settings() -> Iterator[None]:
    """Apply matplotlib's defaults and `SETTINGS` within a context, ignoring the user's matplotlibrc."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


@contextmanager
def outlines_only() -> Iterator[None]:
    """Embed in a PDF the outlines of its glyphs alone; reducing a font's other tables takes longer than all else."""
    from fontTools import subset

    load = subset.load_font

    def load_outlines(file: Any, options: Any) -> Any:
        font = load(file, options)
        for table in set(font.keys()) - OUTLINE_TABLES - {"GlyphOrder"}:
            del font[table]
        font.setGlyphOrder([f"glyph{index}" for index in range(font["maxp"].numGlyphs)])
        return font

    subset.load_font = load_outlines
    try:
        yield
    finally:
        subset.load_font = load
