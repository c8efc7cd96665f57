"""Printed tables as fragments of HTML: no style and no script, so that any page can take them in."""

from __future__ import annotations

from html import escape

from sg_bench.reporting.documents import Document, Heading, PrintedCell, PrintedTable, groups_of, one_line


def document(content: Document) -> str:
    """Return a document as a sequence of <section> elements, one a table."""
    notes = [f'<p class="note">{escaped(note)}</p>' for note in content.notes]
    sections = [_section(sheet, f"{content.stem}-{n}") for n, sheet in enumerate(content.sheets)]
    return "\n".join([*notes, *sections, *_legend(content.legend)]) + "\n"


def escaped(text: str) -> str:
    """Return a text in which nothing is markup, in element content as in attributes."""
    return escape(one_line(text), quote=True)


def _section(sheet: PrintedTable, identity: str) -> str:
    paragraphs = [f'<p class="note">{escaped(note)}</p>' for note in sheet.notes]
    below = [f'<p class="footnote">{escaped(note)}</p>' for note in sheet.footnotes]
    body = "\n".join(_row(line.entries, opens=line.opens) for line in sheet.lines)
    parts = [
        f'<section class="sheet" id="{escaped(identity)}">',
        *paragraphs,
        "<table>",
        f"<caption>{escaped(sheet.title)}</caption>",
        f"<thead>\n{_heads(sheet.heads)}\n</thead>",
        f"<tbody>\n{body}\n</tbody>",
        "</table>",
        *below,
        *_legend(sheet.legend),
        "</section>",
    ]
    return "\n".join(parts)


def _legend(sentences: tuple[str, ...]) -> list[str]:
    return [f'<p class="legend">{escaped(" ".join(sentences))}</p>'] if sentences else []


def _heads(heads: tuple[Heading, ...]) -> str:
    """Return the rows of the head: one, or two where columns are grouped."""
    if not any(head.group for head in heads):
        return f"<tr>{''.join(_head(head.text) for head in heads)}</tr>"
    upper, lower, place = "", "", 0
    for group, width in groups_of(heads):
        alone = not group
        upper += _head(heads[place].text, rows=2) if alone else _head(group, columns=width)
        lower += "" if alone else "".join(_head(head.text) for head in heads[place : place + width])
        place += width
    return f"<tr>{upper}</tr>\n<tr>{lower}</tr>"


def _head(text: str, *, columns: int = 1, rows: int = 1) -> str:
    spans = f' colspan="{columns}"' if columns > 1 else ""
    spans += f' rowspan="{rows}"' if rows > 1 else ""
    scope = "colgroup" if columns > 1 else "col"
    return f'<th scope="{scope}"{spans}>{escaped(text)}</th>'


def _row(entries: tuple[PrintedCell, ...], *, opens: bool) -> str:
    label, *cells = entries
    opened = ' class="opens"' if opens else ""
    return f'<tr{opened}><th scope="row">{escaped(label.text)}</th>{"".join(map(_cell, cells))}</tr>'


def _cell(entry: PrintedCell) -> str:
    marked = ' class="best"' if entry.best else ""
    place = f' data-cell="{escaped(entry.place)}"' if entry.place else ""
    keys = f' data-keys="{escaped(" ".join(entry.keys))}"' if entry.keys else ""
    return f"<td{marked}{place}{keys}>{escaped(entry.text)}</td>"
