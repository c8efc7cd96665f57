r"""Printed tables as LaTeX (booktabs), to be \input; the records behind each cell stand in comments above its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sg_bench.reporting.documents import Document, Heading, PrintedCell, PrintedRow, PrintedTable, groups_of, one_line

KEY_DIGITS = 12
"""Digits of a record's key in a comment: enough to name one of millions, and `explain` takes them."""
NEEDS = r"% Needs \usepackage{booktabs,graphicx}, and \usepackage[T1]{fontenc}."
PANEL, GAP = 92, 2
"""Characters a line of a table: so many, in \\footnotesize, fill the text of a paper; and between two columns."""
TEXT, PAGE, HEAD_LINES = 100, 50, 5
"""Characters a line of text; lines of a float that fill a page; lines that the head of a panel takes."""
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
"""What T1 fonts print as it is."""
LIGATURE = re.compile("([-,'])(?=\\1)")
"""Characters of which two in a row become another one."""


@dataclass(frozen=True)
class LatexBlock:
    """What no page break may part."""

    lines: list[str]
    height: float
    """Printed lines."""


def document(content: Document) -> str:
    """Return a document as LaTeX `table` environments."""
    notes = [f"% {one_line(note)}" for note in content.notes]
    tables = (
        line for n, sheet in enumerate(content.sheets) for line in _tables(sheet, f"{content.stem}-{n}", content.legend)
    )
    return "\n".join([f"% {one_line(content.title)}", NEEDS, *notes, *tables]) + "\n"


def escaped(text: str) -> str:
    """Return a text in which nothing is a command; a character that no T1 font has is printed by its code."""
    return LIGATURE.sub(r"\1{}", "".join(_character(character) for character in one_line(text)))


def _character(character: str) -> str:
    plain = character if LATIN.match(character) else rf"\texttt{{U+{ord(character):04X}}}"
    return COMMANDS.get(character, plain)


def _tables(sheet: PrintedTable, label: str, legend: Sequence[str]) -> Iterator[str]:
    """Yield one float, or as many as its panels and what is said below them need to stay within a page."""
    below = [*sheet.notes, *sheet.footnotes, " ".join(sheet.legend), " ".join(legend)]
    blocks = [*(_panel(sheet, columns) for columns in _panels(sheet)), *(_below(text) for text in below if text)]
    for number, page in enumerate(_pages(blocks)):
        yield from ("", r"\begin{table}[tbp]", r"\centering")
        if number:
            yield rf"\textit{{{escaped(sheet.title)} (continued)}}"
        else:
            yield rf"\caption{{{escaped(sheet.title)}}}"
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


def _panels(sheet: PrintedTable) -> list[list[int]]:
    """Return the columns of each panel: a wide table is stacked, groups of columns kept whole where they fit."""
    texts = [[head.text, *(line.entries[place].text for line in sheet.lines)] for place, head in enumerate(sheet.heads)]
    widths = [max(map(len, column)) + GAP for column in texts]
    panels: list[list[int]] = [[]]
    place, taken = 1, widths[0]
    for _, count in groups_of(sheet.heads[1:]):
        group = list(range(place, place + count))
        wide = sum(widths[column] for column in group)
        if panels[-1] and taken + wide > PANEL:
            panels.append([])
            taken = widths[0]
        panels[-1] += group
        place, taken = place + count, taken + wide
    return panels


def _panel(sheet: PrintedTable, columns: Sequence[int]) -> LatexBlock:
    """Return the first column of a table with some of its others."""
    shown = [0, *columns]
    # As wide as it is, but never wider than the text.
    fitted = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\footnotesize"
    lines = [r"\par\medskip", fitted, rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines += [*_heads([sheet.heads[place] for place in shown]), r"\midrule"]
    for line in sheet.lines:
        lines += _line(PrintedRow(tuple(line.entries[place] for place in shown), line.opens))
    return LatexBlock([*lines, r"\bottomrule", r"\end{tabular}}"], len(sheet.lines) + HEAD_LINES)


def _below(text: str) -> LatexBlock:
    line = rf"\par\smallskip\noindent\parbox{{\linewidth}}{{\footnotesize\raggedright {escaped(text)}}}"
    return LatexBlock([line], len(text) / TEXT + 1)


def _heads(heads: Sequence[Heading]) -> Iterator[str]:
    if not any(head.group for head in heads):
        yield _row(escaped(head.text) for head in heads)
        return
    upper, rules, place = [], [], 0
    for group, width in groups_of(heads):
        upper.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}" if group else "")
        if group:
            rules.append(rf"\cmidrule(lr){{{place + 1}-{place + width}}}")
        place += width
    yield _row(upper)
    yield "".join(rules)
    yield _row(escaped(head.text) for head in heads)


def _line(line: PrintedRow) -> Iterator[str]:
    if line.opens:
        yield r"\midrule"
    for entry in line.entries:
        if entry.keys:
            yield f"% cell: {one_line(entry.place)} keys {' '.join(key[:KEY_DIGITS] for key in entry.keys)}"
    yield _row(_cell(entry) for entry in line.entries)


def _cell(entry: PrintedCell) -> str:
    text = escaped(entry.text)
    return rf"\textbf{{{text}}}" if entry.best and text else text


def _row(texts: Iterator[str] | Sequence[str]) -> str:
    row = " & ".join(texts)
    # Behind the line break above, a [ or * would be its argument.
    return ("{}" if row.startswith(("[", "*")) else "") + row + r" \\"
