r"""Printed tables as LaTeX (booktabs), for \input; comments above each row name the records of its cells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sg_bench.reporting.documents import Document, Heading, PrintedCell, PrintedRow, PrintedTable, groups_of, one_line

KEY_DIGITS = 12
"""Digits of a record's key in a comment: unique among millions, and accepted by `sg-bench explain`."""
NEEDS = r"% Needs \usepackage{booktabs,graphicx}, and \usepackage[T1]{fontenc}."
PANEL, GAP = 92, 2
"""Characters of \\footnotesize across the text width of a paper, and of the gap between two columns."""
TEXT, PAGE, HEAD_LINES = 100, 50, 5
"""Characters of text per line, lines of a float per page, and lines of the heading of a panel."""
COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "’": "'",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$",
    "α": r"$\alpha$", "→": r"$\to$", "–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\ldots{}",
    "†": r"\textsuperscript{\dag}", "★": r"$^{\star}$", "‡": r"\textsuperscript{\ddag}",
    **{digit: rf"\textsuperscript{{{number}}}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}  # fmt: skip
LATIN = re.compile("[ -~À-ÖØ-öø-ÿ]")
"""Characters that T1 fonts print unchanged."""
LIGATURE = re.compile("([-,'])(?=\\1)")
"""Characters that form a ligature with themselves."""


@dataclass(frozen=True)
class LatexBlock:
    """Lines that are kept on one page."""

    lines: list[str]
    height: float
    """In printed lines."""


def document(content: Document) -> str:
    """Return a document as LaTeX `table` environments."""
    notes = [f"% {one_line(note)}" for note in content.notes]
    floats = (
        line for n, table in enumerate(content.tables) for line in _floats(table, f"{content.stem}-{n}", content.legend)
    )
    return "\n".join([f"% {one_line(content.title)}", NEEDS, *notes, *floats]) + "\n"


def escaped(text: str) -> str:
    """Return a text with all commands escaped; characters that T1 fonts lack are printed as their code."""
    return LIGATURE.sub(r"\1{}", "".join(_character(character) for character in one_line(text)))


def _character(character: str) -> str:
    plain = character if LATIN.match(character) else rf"\texttt{{U+{ord(character):04X}}}"
    return COMMANDS.get(character, plain)


def _floats(table: PrintedTable, label: str, legend: Sequence[str]) -> Iterator[str]:
    """Yield the lines of one float, or of several where panels, footnotes and legend need more than a page."""
    below = [*table.notes, *table.footnotes, " ".join(table.legend), " ".join(legend)]
    blocks = [*(_panel(table, columns) for columns in _panels(table)), *(_below(text) for text in below if text)]
    for number, page in enumerate(_pages(blocks)):
        yield from ("", r"\begin{table}[tbp]", r"\centering")
        if number:
            yield rf"\textit{{{escaped(table.title)} (continued)}}"
        else:
            yield rf"\caption{{{escaped(table.title)}}}"
            yield rf"\label{{tab:{re.sub('[^a-z0-9-]+', '-', label.lower())}}}"
        yield from (line for block in page for line in block.lines)
        yield r"\end{table}"


def _pages(blocks: Sequence[LatexBlock]) -> list[list[LatexBlock]]:
    pages: list[list[LatexBlock]] = [[]]
    for block in blocks:
        if pages[-1] and sum(each.height for each in pages[-1]) + block.height > PAGE:
            pages.append([])
        pages[-1].append(block)
    return pages


def _panels(table: PrintedTable) -> list[list[int]]:
    """Return the columns of each panel of a table that is too wide; a group of columns is kept together if it fits."""
    texts = [
        [heading.text, *(row.cells[place].text for row in table.rows)] for place, heading in enumerate(table.headings)
    ]
    widths = [max(map(len, column)) + GAP for column in texts]
    panels: list[list[int]] = [[]]
    place, used = 1, widths[0]
    for _, count in groups_of(table.headings[1:]):
        group = list(range(place, place + count))
        wide = sum(widths[column] for column in group)
        if panels[-1] and used + wide > PANEL:
            panels.append([])
            used = widths[0]
        panels[-1] += group
        place, used = place + count, used + wide
    return panels


def _panel(table: PrintedTable, columns: Sequence[int]) -> LatexBlock:
    """Return a panel: the first column of a table and some of the others."""
    shown = [0, *columns]
    # At its natural width, but at most the width of the text.
    fitted = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\footnotesize"
    lines = [r"\par\medskip", fitted, rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines += [*_heading_lines([table.headings[place] for place in shown]), r"\midrule"]
    for row in table.rows:
        lines += _row_lines(PrintedRow(tuple(row.cells[place] for place in shown), row.new_group))
    return LatexBlock([*lines, r"\bottomrule", r"\end{tabular}}"], len(table.rows) + HEAD_LINES)


def _below(text: str) -> LatexBlock:
    line = rf"\par\smallskip\noindent\parbox{{\linewidth}}{{\footnotesize\raggedright {escaped(text)}}}"
    return LatexBlock([line], len(text) / TEXT + 1)


def _heading_lines(headings: Sequence[Heading]) -> Iterator[str]:
    if not any(heading.group for heading in headings):
        yield _row(escaped(heading.text) for heading in headings)
        return
    upper, rules, place = [], [], 0
    for group, width in groups_of(headings):
        upper.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{place + 1}-{place + width}}}")
        place += width
    yield _row(upper)
    yield "".join(rules)
    yield _row(escaped(heading.text) for heading in headings)


def _row_lines(row: PrintedRow) -> Iterator[str]:
    if row.new_group:
        yield r"\midrule"
    for cell in row.cells:
        if cell.keys:
            yield f"% cell: {one_line(cell.place)} keys {' '.join(key[:KEY_DIGITS] for key in cell.keys)}"
    yield _row(_cell(cell) for cell in row.cells)


def _cell(cell: PrintedCell) -> str:
    text = escaped(cell.text)
    return rf"\textbf{{{text}}}" if cell.best and text else text


def _row(texts: Iterator[str] | Sequence[str]) -> str:
    row = " & ".join(texts)
    # After the line break above, a [ or * would be read as its argument.
    return ("{}" if row.startswith(("[", "*")) else "") + row + r" \\"
