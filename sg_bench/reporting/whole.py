"""The whole report of a suite: tables, verdicts on its claims, figures and the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sg_bench.reporting.claims import claim_rows, claims_report
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.tables import Cell, Record, Records
from sg_bench.reporting.writing import write_report
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace


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
    """Write everything that `records` support under `out` and return what is to be said of the suite's claims.

    Args:
        out: tables/, figures/, cells/ and report.html go here.
        suite: what was asked.
        cells: the planned cells, in the order of the suite.
        records: ledger records by key.
        notes: cautions above every table.
        workspace: where predictions, stores and initialisations lie; without it there are no montages and no cost of
            pretraining.
        others: finished records of any suite, among which a claim looks for seeds that it did not name.
    """
    from sg_bench.reporting.figures import write_figures
    from sg_bench.reporting.page import write_page

    evidence, title, known = Evidence(cells, records), suite.title or suite.name, list(others)
    write_report(out, title, cells, records, notes, workspace=workspace, suite=suite)
    told = claims_report(suite, evidence, out, known)
    write_figures(out, evidence, workspace=workspace)
    write_page(out, title, evidence, notes=notes, claims=claim_rows(suite, evidence, known))
    return told
