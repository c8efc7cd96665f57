"""A comparison as Markdown and for a terminal, in percent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from sg_bench.evaluation.metrics import scale_of
from sg_bench.reporting.compare import CONFIDENCE, RunComparison, ScoreComparison, ScoreEstimate
from sg_bench.reporting.documents import DASH, Document, PrintedTable, headings, printed_row, superscript
from sg_bench.reporting.markdown import escaped, paragraph

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NARROWEST = 8
"""Characters to which a column of a narrow terminal may be folded."""


def compared_markdown(title: str, compared: RunComparison) -> str:
    """Return the comparison as Markdown: verdicts, footnotes, legend and differing settings."""
    head, lines = _cells(compared)
    rule = [":---", ":---", ":---", *["---:"] * (len(head) - 4), ":---"]
    table = ([escaped(text) for text in head], rule, *([escaped(text) for text in cells] for cells in lines))
    grid = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    blocks = [f"# {escaped(title)}", paragraph(summary(compared))]
    blocks += [grid if lines else "Nothing to compare: no method and task in common."]
    blocks += map(paragraph, (*footnotes(compared), " ".join(_legend(compared)), *compared.notes))
    if compared.recipes is not None:
        blocks += ["## Settings that differ in equally named cells", _settings(compared)]
    return "\n\n".join(blocks) + "\n"


def compared_document(compared: RunComparison) -> Document:
    """Return the verdicts as a document, with summary, footnotes and notes."""
    head, lines = _cells(compared)
    rows = tuple(printed_row(*cells) for cells in lines)
    table = PrintedTable("Comparison", headings(*head), rows, (summary(compared),), tuple(footnotes(compared)))
    return Document("comparison", f"{compared.first} and {compared.second}", (table,), "", (), compared.notes)


def compared_console(title: str, compared: RunComparison) -> RichTable:
    """Return the verdicts for `rich`, with footnotes as the caption."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    head, lines = _filled(*_cells(compared))
    caption = Text("\n".join([summary(compared), *footnotes(compared)]))
    out = Table(title=Text(title), caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(head):
        numbers, last = 3 <= place < len(head) - 1, place == len(head) - 1
        # A verdict with its marks stays on one line; where the terminal is narrow, names and numbers are folded for it.
        least = max((len(cells[place]) for cells in lines), default=0) if last else min(len(name), NARROWEST)
        justify: Literal["left", "right"] = "right" if numbers else "left"
        out.add_column(Text(name), justify=justify, overflow="fold", no_wrap=last, min_width=least)
    for cells in lines:
        out.add_row(*(Text(text) for text in cells))
    return out


def _filled(head: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return a table without the columns that hold nothing: a terminal is narrow."""
    kept = [place for place in range(len(head)) if not lines or any(cells[place] != DASH for cells in lines)]
    return [head[place] for place in kept], [[cells[place] for place in kept] for cells in lines]


def summary(compared: RunComparison) -> str:
    """Return "3 consistent, 1 lower, 8 not comparable"."""
    verdicts = [line.verdict for line in compared.lines]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(verdicts))]
    return f"{compared.first} compared with {compared.second}: {', '.join(counts) or 'nothing in common'}."


def footnotes(compared: RunComparison) -> list[str]:
    """Return "¹ reason" for each reason and remark."""
    return [f"{superscript(place)} {text}" for place, text in enumerate(_texts(compared), start=1)]


def _cells(compared: RunComparison) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the table."""
    head = ["method", "task", "metric", compared.first, "n", compared.second, "n"]
    texts = _texts(compared)
    head += ["difference", "errors", "tolerance", "z", "verdict"]
    return head, [_line(line, texts) for line in compared.lines]


def _line(line: ScoreComparison, texts: Sequence[str]) -> list[str]:
    scale = scale_of(line.metric)
    numbers = [_number(line.difference, scale, signed=True), _errors(line), _number(line.tolerance, scale)]
    z = DASH if line.z is None else f"{line.z:+.2f}"
    marks = " ".join(superscript(texts.index(text) + 1) for text in (*line.reasons, *line.remarks))
    sides = [_side(line.first, scale), _count(line.first), _side(line.second, scale), _count(line.second)]
    return [line.method, line.task, line.metric, *sides, *numbers, z, f"{line.verdict} {marks}".rstrip()]


def _side(side: ScoreEstimate, scale: float) -> str:
    """Return "83.12 ± 1.05 [1.00]": mean, standard deviation with ddof 1, and in brackets with ddof 0."""
    if side.mean is None:
        return DASH
    approximate = "≈ " if side.read_from_figure else ""
    population = "" if side.population_std is None else f" [{_number(side.population_std, scale)}]"
    return f"{approximate}{_number(side.mean, scale)} ± {_number(side.std, scale)}{population}"


def _count(side: ScoreEstimate) -> str:
    return "?" if side.n is None else f"{side.n}{'*' if side.assumed else ''}"


def _errors(line: ScoreComparison) -> str:
    scale = scale_of(line.metric)
    return f"{_number(line.first.error, scale)} / {_number(line.second.error, scale)}"


def _number(score: float | None, scale: float, *, signed: bool = False) -> str:
    return DASH if score is None else f"{scale * score:{'+' if signed else ''}.2f}"


def _legend(compared: RunComparison) -> Iterator[str]:
    others = [line.metric for line in compared.lines if scale_of(line.metric) == 1]
    apart = f" ({', '.join(dict.fromkeys(others))}: in the metric's own unit)" if others else ""
    yield f"In percent{apart}; mean ± standard deviation (ddof 1) [ddof 0] over n independent units."
    yield f"Difference: {compared.first} minus {compared.second}; errors: standard errors of the two means;"
    yield f"tolerance: half-width of the {CONFIDENCE:.0%} interval of the difference (Welch), by the measured spreads;"
    yield "z: the difference over its standard error."
    comparable = sum(line.tolerance is not None for line in compared.lines)
    if comparable:
        yield f"Of {comparable} comparable lines, about {(1 - CONFIDENCE) * comparable:.1f} differ by chance alone."
    if any(side.assumed for line in compared.lines for side in (line.first, line.second)):
        yield "*: not published, assumed."
    if any(side.read_from_figure for line in compared.lines for side in (line.first, line.second)):
        yield "≈: read from a figure."


def _settings(compared: RunComparison) -> str:
    if not compared.recipes:
        return "None: equally named cells have the same recipes."
    return "\n".join(f"- `{line}` ({', '.join(places)})" for line, places in compared.recipes.items())


def _texts(compared: RunComparison) -> list[str]:
    return list(dict.fromkeys(text for line in compared.lines for text in (*line.reasons, *line.remarks)))
