"""Each score with its interval over test sets: by patient, of the runs that it says, each output in the CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from sg_bench.evaluation.metrics import score
from sg_bench.reporting import html, latex, main_table, markdown
from sg_bench.reporting.case_tables import CASE_RUNS, CaseResamples, case_document
from sg_bench.reporting.documents import Document
from sg_bench.reporting.variance_tables import variance_document
from sg_bench.statistics.variance import bootstrap_scores

FINDINGS = ("Mass", "Hernia")


def films(ledger: Any, method: str, seeds: int = 2, positives: int = 15, patients: bool = True, **task: Any) -> None:
    """Add runs of a task of 30 patients with two films each."""
    for seed in range(seeds):
        key = ledger.plan(method, "dxc", seed)
        rng = np.random.default_rng(seed)
        truths = np.array([[i < 24, i >= 60 - positives] for i in range(60)])
        scores, names = rng.normal(truths, 1.0), [f"film-{i:02}" for i in range(60)]
        metrics, rows = score(
            "classification", dict(zip(names, scores, strict=True)), dict(zip(names, truths, strict=True)), FINDINGS
        )
        owned = [{**row, **({"patient": f"p{i // 2}"} if patients else {})} for i, row in enumerate(rows)]
        recipe = {"task": {"name": "dxc", "findings": list(FINDINGS), **task}, "fine_tuning_seed": seed}
        ledger.records[key] = {
            "key": key, "status": "done", "metrics": metrics, "headline": "auc", "parity": None, "secondary": [],
            "error": None, "cases": owned, "recipe": recipe,
        }  # fmt: skip


def lines(document: Document) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document.csv)))


def table_of(ledger: Any) -> Any:
    return main_table(ledger.cells, ledger.records)


def test_the_macro_auc_has_a_patient_bootstrap_interval(empty: Any) -> None:
    films(empty, "scratch")
    document = case_document(table_of(empty))
    (line,) = [each for each in lines(document) if each["metric"] == "auc"]
    drawn = [bootstrap_scores(record["cases"], ["auc"], FINDINGS)["auc"] for record in empty.records.values()]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    assert (line["unit"], line["units"], line["runs"], line["test_sets"]) == ("patients", "30", "2", "1000")
    assert (float(line["low"]), float(line["high"])) == pytest.approx((low, high))
    assert low < float(line["score"]) < high
    assert f"{100 * low:.2f} to {100 * high:.2f} | 30 patients |" in markdown.document(document)


def test_each_finding_stands_in_the_csv_and_not_in_the_printed_table(empty: Any) -> None:
    films(empty, "scratch")
    document = case_document(table_of(empty))
    assert [(each["metric"], each["role"]) for each in lines(document)] == [
        ("auc", "headline"),
        ("auc_Hernia", "other"),
        ("auc_Mass", "other"),
    ]
    assert all(each["low"] < each["score"] < each["high"] for each in lines(document))
    for form in (markdown.document, latex.document, html.document):
        assert "Hernia" not in form(document)


def test_test_sets_without_a_positive_are_counted_and_told(empty: Any) -> None:
    films(empty, "scratch", positives=2)  # of one patient
    document = case_document(table_of(empty))
    line = lines(document)[0]
    assert 250 < int(line["left_out"]) < 500
    assert f"{line['left_out']} of 1000 test sets lack a positive or a negative case" in markdown.document(document)


def test_rows_without_patients_are_drawn_by_image_and_said_to_be(empty: Any) -> None:
    films(empty, "scratch", patients=False)
    table = table_of(empty)
    assert (lines(case_document(table))[0]["unit"], lines(case_document(table))[0]["units"]) == ("images", "60")
    assert "bootstrap over images" in markdown.document(variance_document(table))


def test_the_variance_table_says_that_patients_were_drawn(empty: Any) -> None:
    films(empty, "scratch")
    assert "bootstrap over patients" in markdown.document(variance_document(table_of(empty)))


def test_only_the_first_runs_are_drawn_and_the_score_is_theirs(empty: Any) -> None:
    films(empty, "scratch", seeds=CASE_RUNS + 2)
    line = lines(case_document(table_of(empty)))[0]
    first = [record["metrics"]["auc"] for record in empty.records.values()][:CASE_RUNS]
    assert int(line["runs"]) == CASE_RUNS
    assert float(line["score"]) == pytest.approx(np.mean(first))


def test_folds_are_other_test_sets_and_drawn_by_themselves(empty: Any) -> None:
    films(empty, "whole")
    films(empty, "folds", split={"folds": 2})
    drawn = CaseResamples(table_of(empty))
    whole, folds = ([cell.key for cell in empty.cells if cell.method == name] for name in ("whole", "folds"))
    assert np.array_equal(drawn.scores(folds[0])["auc"], drawn.scores(whole[0])["auc"])
    assert not np.array_equal(drawn.scores(folds[1])["auc"], drawn.scores(whole[1])["auc"])


def test_a_metric_that_needs_voxels_has_no_interval_and_says_why(empty: Any) -> None:
    empty.done("scratch", "lcs", [{"mean_iou_keras": 0.8}])
    (record,) = empty.records.values()
    record["cases"] = [{"case": f"p{i}", "both": 1, "predicted": 2, "true": 2, "iou_case": 1 / 3} for i in range(4)]
    document = case_document(table_of(empty))
    assert lines(document)[0]["low"] == ""
    assert "no interval" in markdown.document(document)


def test_a_secondary_metric_is_printed_with_its_own_interval(empty: Any) -> None:
    empty.done("scratch", "pxs", [{"dice_case": 0.8, "dice_positive": 0.3}])
    (record,) = empty.records.values()
    record["secondary"] = ["dice_positive"]
    values = [(0.9, None), (0.7, 0.2), (1.0, None), (0.6, 0.4), (0.8, 0.3)]
    record["cases"] = [{"case": f"p{i}", "dice_case": a, "dice_positive": b} for i, (a, b) in enumerate(values)]
    written = markdown.document(case_document(table_of(empty)))
    assert "## Test cases: pxs · dice_case" in written
    assert "## Test cases: pxs · dice_positive" in written


def test_records_without_rows_and_an_empty_ledger_say_so(empty: Any) -> None:
    empty.done("scratch", "ncc", [{"auc": 0.8}])
    for table in (table_of(empty), main_table([], {})):
        assert "No test cases are scored yet." in markdown.document(case_document(table))
