"""Printed tables as fragments of HTML without style or script, for inclusion in any page."""

from __future__ import annotations

from html import escape

from sg_bench.reporting.documents import Document, Heading, PrintedCell, PrintedTable, groups_of, one_line


def document(content: Document) -> str:
    """Return a document as a sequence of <section> elements, one for each table."""
    notes = [f'<p class="note">{escaped(note)}</p>' for note in content.notes]
    sections = [_section(table, f"{content.stem}-{n}") for n, table in enumerate(content.tables)]
    return "\n".join([*notes, *sections, *_legend(content.legend)]) + "\n"


def escaped(text: str) -> str:
    """Return a text escaped for element content and attributes."""
    return escape(one_line(text), quote=True)


def _section(table: PrintedTable, identity: str) -> str:
    paragraphs = [f'<p class="note">{escaped(note)}</p>' for note in table.notes]
    below = [f'<p class="footnote">{escaped(note)}</p>' for note in table.footnotes]
    body = "\n".join(_row(row.cells, new_group=row.new_group) for row in table.rows)
    parts = [
        f'<section class="sheet" id="{escaped(identity)}">',
        *paragraphs,
        "<table>",
        f"<caption>{escaped(table.title)}</caption>",
        f"<thead>\n{_headings(table.headings)}\n</thead>",
        f"<tbody>\n{body}\n</tbody>",
        "</table>",
        *below,
        *_legend(table.legend),
        "</section>",
    ]
    return "\n".join(parts)


def _legend(sentences: tuple[str, ...]) -> list[str]:
    return [f'<p class="legend">{escaped(" ".join(sentences))}</p>'] if sentences else []


def _headings(headings: tuple[Heading, ...]) -> str:
    """Return the heading rows: one, or two if columns are grouped."""
    if not any(heading.group for heading in headings):
        return f"<tr>{''.join(_heading(heading.text) for heading in headings)}</tr>"
    upper, lower, place = "", "", 0
    for group, width in groups_of(headings):
        alone = not group
        upper += _heading(headings[place].text, rows=2) if alone else _heading(group, columns=width)
        lower += "" if alone else "".join(_heading(heading.text) for heading in headings[place : place + width])
        place += width
    return f"<tr>{upper}</tr>\n<tr>{lower}</tr>"


def _heading(text: str, *, columns: int = 1, rows: int = 1) -> str:
    spans = f' colspan="{columns}"' if columns > 1 else ""
    spans += f' rowspan="{rows}"' if rows > 1 else ""
    scope = "colgroup" if columns > 1 else "col"
    return f'<th scope="{scope}"{spans}>{escaped(text)}</th>'


def _row(row_cells: tuple[PrintedCell, ...], *, new_group: bool) -> str:
    label, *cells = row_cells
    marked = ' class="opens"' if new_group else ""
    return f'<tr{marked}><th scope="row">{escaped(label.text)}</th>{"".join(map(_cell, cells))}</tr>'


def _cell(cell: PrintedCell) -> str:
    marked = ' class="best"' if cell.best else ""
    place = f' data-cell="{escaped(cell.place)}"' if cell.place else ""
    keys = f' data-keys="{escaped(" ".join(cell.keys))}"' if cell.keys else ""
    return f"<td{marked}{place}{keys}>{escaped(cell.text)}</td>"
