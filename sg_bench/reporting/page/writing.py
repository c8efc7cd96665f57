"""Writes the page as one file with inlined style, script and figures; it fetches nothing, and labels inject no code."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sg_bench.reporting.documents import LEAK_MARK, TIE_MARK
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page.answers import answers_of, common_sentence, summary_of
from sg_bench.reporting.page.basis import basis_of
from sg_bench.reporting.page.checks import checks_of
from sg_bench.reporting.page.content import content_of
from sg_bench.reporting.page.drawings import inline_svg
from sg_bench.reporting.page.provenance import data_of
from sg_bench.reporting.render import secondary_sentences, unit_sentence
from sg_bench.statistics.ties import TIE_TEST
from sg_bench.workspace import Workspace, write_changed

if TYPE_CHECKING:
    from markupsafe import Markup

    from sg_bench.reporting.claims import ClaimRow
    from sg_bench.reporting.figures import Plot
    from sg_bench.suite import Suite

FOLDERS = {"tables": "each as Markdown, CSV, LaTeX and HTML", "figures": "SVG", "cells": "the records behind it, JSON"}
"""Folders of a report, and what is in them."""
GROUPS = {
    "Scores": ("scores", "addon", "seed-spread", "ranks"),
    "Labels and learning": ("label-efficiency", "roc", "learning-curves"),
    "Pretraining": ("pretraining", "patterns", "restoration"),
    "Segmentations": ("segmentation",),
}
"""Sections of figures, and the starts of their names."""
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""JSON escapes of characters that could end a script element or a line of script."""


def write_page(
    out: Path,
    title: str,
    evidence: Evidence,
    *,
    notes: Sequence[str] = (),
    claims: Sequence[ClaimRow] = (),
    suite: Suite | None = None,
    workspace: Workspace | None = None,
    figures: Sequence[Plot] = (),
) -> Path:
    """Write OUT/report.html: one file without a server, the same bytes for the same ledger.

    Call it last: the page lists the existing files of OUT and includes its figures.

    Args:
        out: the report's folder.
        title: heading of the page.
        evidence: the planned cells and their records.
        notes: cautions printed above the results.
        claims: the claims of the suite and their outcomes.
        suite: that was run.
        workspace: has the dates and the cost of pretraining; without it they are left out.
        figures: that were written to OUT/figures.

    Returns:
        The path of the page.
    """
    path = out / "report.html"
    drawings = {
        plot.name: (plot, (out / "figures" / f"{plot.name}.svg").read_text(encoding="utf-8")) for plot in figures
    }
    text = page(
        title, evidence, notes=notes, claims=claims, suite=suite, workspace=workspace, drawings=drawings,
        files=_files(out),
    )  # fmt: skip
    write_changed(path, text)
    return path


def page(
    title: str,
    evidence: Evidence,
    *,
    notes: Sequence[str] = (),
    claims: Sequence[ClaimRow] = (),
    suite: Suite | None = None,
    workspace: Workspace | None = None,
    drawings: Mapping[str, tuple[Plot, str]] | None = None,
    files: Sequence[tuple[str, str, Sequence[tuple[str, str]]]] = (),
) -> str:
    """Return the page's HTML.

    Args:
        title: heading of the page.
        evidence: the planned cells and their records.
        notes: cautions printed above the results.
        claims: the claims of the suite and their outcomes.
        suite: that was run.
        workspace: has the dates and the cost of pretraining.
        drawings: figures with their SVG, by name.
        files: folders of the report: name, what is in it, and (name, relative address) of its files.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = breakable
    content, css, script = content_of(evidence), _packaged("page.css"), _packaged("page.js")
    answers = answers_of(content)
    return environment.from_string(_packaged("template.html.j2")).render(
        title=title,
        suite=suite.name if suite else "",
        notes=notes,
        claims=claims,
        files=files,
        content=content,
        answers=answers,
        summary=summary_of(answers),
        common=common_sentence(answers),
        checks=checks_of(content),
        basis=basis_of(content, suite, workspace),
        sections=_sections(drawings or {}),
        metrics=[*secondary_sentences(content.table), unit_sentence(shown.column.metric for shown in content.columns)],
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


def inline_hash(text: str) -> str:
    """Return the hash by which a content security policy permits an inlined text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _packaged(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sections(drawings: Mapping[str, tuple[Plot, str]]) -> list[tuple[str, list[tuple[Plot, Markup]]]]:
    """Return the figures by section, without sections that have none."""
    from markupsafe import Markup

    sections = []
    for heading, starts in GROUPS.items():
        found = [
            each for start in starts for name, each in drawings.items() if name == start or name.startswith(f"{start}-")
        ]
        figures = [
            (plot, Markup(inline_svg(text, f"figure-{plot.name}", plot.title, plot.caption)))  # noqa: S704 - parsed and written again
            for plot, text in found
        ]
        if figures:
            sections.append((heading, figures))
    return sections


def _files(out: Path) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the folders of the report that have files, with the address of each table and figure."""
    found = []
    for folder, about in FOLDERS.items():
        names = _names(path for path in sorted((out / folder).glob("*")) if path.suffix in (".md", ".svg", ".json"))
        if folder == "cells":
            names = {"": f"{len(names)} records"} if names else {}
        if names:
            addresses = [(text, quote(f"{folder}/{name}")) for name, text in names.items()]
            found.append((folder, about, addresses))
    return found


def _names(paths: Iterable[Path]) -> dict[str, str]:
    return {path.name: path.stem for path in paths if path.is_file() and path.name != "drawn.json"}
