"""Effect of semantics: the scores of each method without and with them, joined by a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot, charts_with_named_rows
from sg_bench.reporting.figures.scores import BEYOND, DESCRIPTION, ScorePanel, draw_score, panels
from sg_bench.reporting.figures.style import BLUE, GREY, PALE, SMALL
from sg_bench.reporting.figures.summaries import (
    absent_sentence,
    fractions_sentence,
    full_tasks,
    p_label,
    p_value,
    repetitions_text,
    sentences,
    tables_sentence,
    units_sentence,
)
from sg_bench.statistics.families import holm
from sg_bench.statistics.two_sample import MIN_UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIX = "+semantics"
BASE, ADDED = "base method", "base method + semantics"
PAPERS_PAIR = ("models_genesis", "semantic_genesis")
"""The papers treat Semantic Genesis as Models Genesis with semantics."""
APART = 0.17
"""Distance of a pair's two scores from the middle of its row."""


@dataclass(frozen=True)
class SemanticsPair:
    """Two labels: a method, and the same with semantics."""

    base: str
    added: str

    @property
    def name(self) -> str:
        """Return the label of the pair on the axis."""
        return self.base if self.added == self.base + SUFFIX else f"{self.base} / {self.added}"


def plots(evidence: Evidence) -> list[Plot]:
    """Return the figure of the suite's pairs; none without a pair or without results."""
    found = pairs(evidence)
    methods = list(dict.fromkeys(label for pair in found for label in (pair.base, pair.added)))
    drawn = panels(evidence, methods)
    if not drawn:
        return []
    p_values = [adjusted_p(panel, found) for panel in drawn]
    caption = sentences(
        DESCRIPTION,
        units_sentence(unit for panel in drawn for unit in panel.units.values()),
        BEYOND if any(panel.limits[1] for panel in drawn) else "",
        _about_tests(drawn, found, p_values),
        fractions_sentence(evidence),
        tables_sentence(evidence),
        absent_sentence(evidence, methods, full_tasks(evidence)),
    )
    return [Plot("addon", "Effect of adding semantics to a method", caption, partial(_draw, drawn, found, p_values))]


def pairs(evidence: Evidence) -> list[SemanticsPair]:
    """Return the pairs in the order of the suite, including the papers' own.

    A method is found by its label, or by its registered name if only one label has that name.
    """
    labels = evidence.methods
    names = [evidence.method_name(label) for label in labels]
    unique = {name: label for name, label in zip(names, labels, strict=True) if names.count(name) == 1}
    known = unique | {label: label for label in labels}
    found = [SemanticsPair(base, known[name + SUFFIX]) for name, base in known.items() if name + SUFFIX in known]
    if all(name in known for name in PAPERS_PAIR):
        found.append(SemanticsPair(known[PAPERS_PAIR[0]], known[PAPERS_PAIR[1]]))
    return sorted(dict.fromkeys(found), key=lambda pair: (labels.index(pair.base), labels.index(pair.added)))


def adjusted_p(panel: ScorePanel, pairs: Sequence[SemanticsPair]) -> dict[SemanticsPair, float]:
    """Return the Holm-adjusted p-value of each testable pair; the family is the pairs of one task."""
    found = {
        pair: p
        for pair in pairs
        if pair.base in panel.units and pair.added in panel.units
        if (p := p_value(panel.units[pair.base], panel.units[pair.added])) is not None
    }
    return holm(found)


def _about_tests(
    drawn: Sequence[ScorePanel], pairs: Sequence[SemanticsPair], p_values: Sequence[dict[SemanticsPair, float]]
) -> str:
    comparisons = [(panel, pair) for panel in drawn for pair in pairs if {pair.base, pair.added} <= panel.units.keys()]
    if not comparisons:
        return "No test was made: no pair has results of both methods."
    count = sum(len(found) for found in p_values)
    rule = "P-values: Welch's t-test on units, Holm-adjusted over the pairs of a task; n.s.: p ≥ 0.05." if count else ""
    if count == len(comparisons):
        return rule
    few = any(panel.units[label].n < MIN_UNITS for panel, pair in comparisons for label in (pair.base, pair.added))
    why = f"fewer than {MIN_UNITS} units" if few else "units of two kinds, or no spread"
    return f"{rule} Pairs without one were not tested: {why}." if count else f"No test was made: {why}."


def _draw(
    drawn: Sequence[ScorePanel],
    pairs: Sequence[SemanticsPair],
    p_values: Sequence[dict[SemanticsPair, float]],
    layout: FigureLayout,
) -> None:
    from matplotlib.lines import Line2D

    headings = [(panel.task, repetitions_text(panel.units.values())) for panel in drawn]
    charts = charts_with_named_rows(layout, headings, [pair.name for pair in pairs], row=0.34)
    for axes, panel, found in zip(charts, drawn, p_values, strict=True):
        for place, pair in enumerate(pairs):
            _pair(axes, place, panel, pair)
            if pair in found:
                axes.text(0.99, place, p_label(found[pair]), transform=axes.get_yaxis_transform(), ha="right",
                          va="center", fontsize=SMALL)  # fmt: skip
        (low, high), _ = panel.limits
        axes.set_xlim(100 * low, 100 * (high + (high - low) * (0.3 if found else 0)))
        axes.locator_params(axis="x", nbins=4 if layout.narrow else 6)
        axes.set_xlabel(f"{panel.metric} (%)")
    marker = partial(Line2D, [], [], linestyle="none", marker="o", ms=4.2)
    layout.legend([marker(color=GREY, mfc="w"), marker(color=BLUE)], [BASE, ADDED])


def _pair(axes: Axes, place: int, panel: ScorePanel, pair: SemanticsPair) -> None:
    ends = [(label, place + side) for label, side in ((pair.base, -APART), (pair.added, APART)) if label in panel.units]
    axes.plot(
        [100 * panel.averages[label].mean for label, _ in ends], [at for _, at in ends], color=PALE, lw=1.0, zorder=2
    )
    for label, at in ends:
        base = label == pair.base
        draw_score(axes, at, panel, label, GREY if base else BLUE, "w" if base else "")
