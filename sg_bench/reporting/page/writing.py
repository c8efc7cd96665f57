"""Writes the page as one file with inlined style and script; it fetches nothing, and labels cannot inject code."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sg_bench.reporting.documents import LEAK_MARK, TIE_MARK
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page.content import content_of
from sg_bench.reporting.page.limits import limits_of
from sg_bench.reporting.page.runs import data_of
from sg_bench.statistics.ties import TIE_TEST
from sg_bench.workspace import write_changed

if TYPE_CHECKING:
    from markupsafe import Markup

    from sg_bench.reporting.claims import ClaimRow

LINKED_FILES = {"tables": (".md", ".csv", ".tex", ".html"), "figures": (".svg", ".pdf")}
"""Folders of a report and the file endings that the page links to."""
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""JSON escapes of characters that could end a script element or a line of script."""


def write_page(
    out: Path, title: str, evidence: Evidence, *, notes: Sequence[str] = (), claims: Sequence[ClaimRow] = ()
) -> Path:
    """Write OUT/report.html: one file without a server, the same bytes for the same ledger.

    Call it last: the page links to the existing records in OUT/cells, tables and figures.

    Args:
        out: the report's folder.
        title: heading of the page.
        evidence: the planned cells and their records.
        notes: cautions printed above the results.
        claims: the claims of the suite and their outcomes.

    Returns:
        The path of the page.
    """
    path = out / "report.html"
    write_changed(path, page(title, evidence, notes=notes, claims=claims, files=_linked_files(out)))
    return path


def page(
    title: str,
    evidence: Evidence,
    *,
    notes: Sequence[str] = (),
    claims: Sequence[ClaimRow] = (),
    files: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (),
) -> str:
    """Return the page's HTML.

    Args:
        title: heading of the page.
        evidence: the planned cells and their records.
        notes: cautions printed above the results.
        claims: the claims of the suite and their outcomes.
        files: files to link to: name, and (ending, relative address) of each format.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = breakable
    content, css, script = content_of(evidence), _packaged("page.css"), _packaged("page.js")
    return environment.from_string(_packaged("template.html.j2")).render(
        title=title,
        notes=notes,
        claims=claims,
        files=files,
        content=content,
        limits=limits_of(content),
        css=Markup(css),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - likewise
        data=Markup(embedded(data_of(content))),  # noqa: S704 - no character in it can end the element
        marks={"tie": TIE_MARK, "leak": LEAK_MARK},
        test=TIE_TEST,
        hashes={"css": inline_hash(css), "script": inline_hash(script)},
    )


def embedded(data: Any) -> str:
    """Return `data` as JSON that is safe inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(ESCAPES)


def breakable(name: str) -> Markup:
    """Return a name with line-break opportunities after underscores and plus signs."""
    from markupsafe import Markup, escape

    return escape(name).replace("_", Markup("_<wbr>")).replace("+", Markup("+<wbr>"))


def _packaged(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def inline_hash(text: str) -> str:
    """Return the hash by which a content security policy permits an inlined text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _linked_files(out: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the tables and figures of the report, with the ending and address of each format."""
    found: dict[str, list[tuple[str, str]]] = {}
    for folder, endings in LINKED_FILES.items():
        for path in sorted((out / folder).glob("*")):
            if path.suffix in endings and path.is_file():
                address = quote(f"{folder}/{path.name}")
                found.setdefault(f"{folder}/{path.stem}", []).append((path.suffix[1:], address))
    return list(found.items())
