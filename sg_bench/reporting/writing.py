"""Write the report of a suite: tables, claims, figures, the page, and the records behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sg_bench.ledger import Record, ScoreTables, copy_record
from sg_bench.reporting import html, latex, markdown
from sg_bench.reporting.case_tables import CaseResamples, case_document
from sg_bench.reporting.claims import claim_rows, claims_report
from sg_bench.reporting.comparison_tables import comparison_documents, mostly_planned
from sg_bench.reporting.cost import cost_document
from sg_bench.reporting.documents import Document
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import Cell, Records
from sg_bench.reporting.label_efficiency import label_efficiency_document
from sg_bench.reporting.published import comparisons
from sg_bench.reporting.render import main_document, scores_csv
from sg_bench.reporting.significance import significance_document
from sg_bench.reporting.tables import Table
from sg_bench.reporting.variance_tables import across_document, variance_document
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace, write_changed

FORMATS: dict[str, Callable[[Document], str]] = {
    "csv": lambda document: document.csv,
    "md": markdown.document,
    "tex": latex.document,
    "html": html.document,
}
"""Formats of each document, by the suffix of their files."""


def report(
    out: Path,
    suite: Suite,
    cells: Sequence[Cell],
    records: Records,
    *,
    notes: Sequence[str] = (),
    workspace: Workspace | None = None,
    others: Iterable[Record] = (),
) -> list[str]:
    """Write the whole report of a suite under `out` and return the lines to print about its claims.

    Args:
        out: tables/, figures/, cells/ and report.html go here.
        suite: the suite.
        cells: the planned cells, in the order of the suite.
        records: ledger records by key.
        notes: cautions printed above every table.
        workspace: has the predictions, stores and initialisations; without it there are no montages and no cost of
            pretraining.
        others: finished records of any suite, searched for runs of seeds that a claim did not fix.
    """
    from sg_bench.reporting.figures import write_figures
    from sg_bench.reporting.page import write_page

    evidence = Evidence(cells, records, workspace.path("cells") if workspace else None)
    title, known = suite.title or suite.name, list(others)
    write_report(out, title, cells, records, notes, workspace=workspace, suite=suite, evidence=evidence)
    lines = claims_report(suite, evidence, out, known)
    figures = write_figures(out, evidence, workspace=workspace)
    rows = claim_rows(suite, evidence, known)
    write_page(out, title, evidence, notes=notes, claims=rows, suite=suite, workspace=workspace, figures=figures)
    return lines


def write_report(
    out: Path,
    title: str,
    cells: Sequence[Cell],
    records: Records,
    notes: Sequence[str] = (),
    *,
    workspace: Workspace | None = None,
    suite: Suite | None = None,
    evidence: Evidence | None = None,
) -> Path:
    """Write the tables of `cells` and their ledger records under `out`.

    Args:
        out: the report's folder; records in its cells/ that are no longer used are removed.
        title: heading of the main table.
        cells: the planned cells, in the order of the suite.
        records: ledger records by key.
        notes: cautions printed above every table, such as the data that was used.
        workspace: has the records of pretrainings; without it the cost of pretraining is unknown.
        suite: gives the registered method of a label that has no finished run.
        evidence: of the same cells and records, if another part of the report uses it too.

    Returns:
        The path of the main Markdown table.
    """
    evidence = evidence or Evidence(cells, records, workspace.path("cells") if workspace else None)
    table, scores = evidence.table, evidence.tables
    _write_cells(out / "cells", {cell.key for cell in cells if cell.key in records}, scores)
    tables = out / "tables"
    write_changed(tables / "scores.csv", scores_csv(table))
    earlier = {tables / f"{stem}.{suffix}" for stem in stems() for suffix in FORMATS}
    for document in documents(title, table, notes, workspace=workspace, suite=suite, scores=scores):
        for suffix, format_document in FORMATS.items():
            path = tables / f"{document.stem}.{suffix}"
            write_changed(path, format_document(document))
            earlier.discard(path)
    for path in earlier:
        path.unlink(missing_ok=True)
    return tables / "main.md"


def stems() -> list[str]:
    """Return the names of all tables that a report can have, the main table first."""
    compared = [f"comparison-{each.name}{ending}" for each in comparisons() for ending in ("", "-pairs")]
    return ["main", *compared, "label-efficiency", "cost", "significance", "variance", "across-tasks", "test-cases"]


def documents(
    title: str,
    table: Table,
    notes: Sequence[str] = (),
    *,
    workspace: Workspace | None = None,
    suite: Suite | None = None,
    scores: ScoreTables | None = None,
) -> Iterator[Document]:
    """Yield the documents of a report that have something to show, the main table first; each is made on demand.

    Arguments as `write_report`. `scores` are the per-case scores of the table's cells; None: those inside the records.
    """
    yield main_document(title, table, notes)
    for document in _further(table, method_names(table, suite), workspace, CaseResamples(table, scores)):
        if document.tables and not document.blank:
            yield document.with_notes(notes)


def _further(
    table: Table, names: Mapping[str, str], workspace: Workspace | None, drawn: CaseResamples
) -> Iterator[Document]:
    for comparison in comparisons():
        if mostly_planned(comparison, table, names):
            yield from comparison_documents(comparison, table, names)
    yield label_efficiency_document(table)
    yield cost_document(table, workspace)
    yield significance_document(table, names)
    yield variance_document(table, drawn)
    yield across_document(table, names)
    yield case_document(table, drawn)


def method_names(table: Table, suite: Suite | None = None) -> dict[str, str]:
    """Return the registered method of each label: from its records, else from the suite, else the label itself."""
    names = {row.method: row.method for row in table.rows}
    names |= {method.title: method.name for method in (suite.methods if suite else [])}
    recipes: dict[str, Mapping[str, object]] = {
        cell.method: record["recipe"]["initialisation"]
        for cell, record in table.done
        if "initialisation" in record.get("recipe", {})
    }
    return names | {label: str(recipe["method"]) for label, recipe in recipes.items()}


def _write_cells(folder: Path, used: set[str], tables: ScoreTables) -> None:
    """Write the used records and their tables; remove those that are no longer used."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name for key in sorted(used) for name in copy_record(tables.records[key], folder, tables.cells)}
    for path in (*folder.glob("*.json"), *folder.glob("*.parquet")):
        if re.match(r"[0-9a-f]{64}\.", path.name) and path.name not in kept and ".conflict-" not in path.name:
            path.unlink(missing_ok=True)
