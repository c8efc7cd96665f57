import statistics
from pathlib import Path
from typing import Any

import pytest

from sg_bench.reporting import Table, main_table, markdown
from sg_bench.reporting.variance_tables import across, across_document, variance_document

GOLDEN = Path(__file__).parent / "golden"
NAMES = {"scratch": "scratch"}


@pytest.mark.parametrize("name", ["variance", "across-tasks"])
def test_the_tables_are_the_golden_ones_to_the_byte(study_table: Table, name: str) -> None:
    document = variance_document(study_table) if name == "variance" else across_document(study_table, NAMES)
    assert markdown.document(document).encode() == (GOLDEN / f"{name}.md").read_bytes()


def test_with_one_pretraining_its_variance_is_unknown_and_the_fine_tunings_spread_stands_apart(
    study_table: Table,
) -> None:
    line = next(line for line in variance_document(study_table).csv.split("\n") if line.startswith("ncs,iou_bin,scr"))
    runs = next(row.summaries[2].values for row in study_table.rows if row.method == "scratch")
    _, _, _, count, pretrainings, pretraining, fine_tuning, *_ = line.split(",")
    assert (count, pretrainings, pretraining) == ("6", "1", "")
    assert float(fine_tuning) == pytest.approx(statistics.stdev(runs))


def test_across_tasks_shares_of_the_labels_do_not_count_as_tasks(study_table: Table) -> None:
    found = across(study_table, NAMES)
    assert found.tasks == ("ncc", "ncs")
    assert found.reference == "scratch"


def test_a_method_that_lacks_a_task_is_left_out_and_named(study: Any) -> None:
    cells = [cell for cell in study.cells if (cell.method, cell.task) != ("mine", "ncs")]
    document = across_document(main_table(cells, study.records), NAMES)
    assert "Left out: mine, without a value on ncs." in markdown.document(document)
    assert "\nmine," not in document.csv


def test_with_few_units_no_interval_is_given(empty: Any) -> None:
    for method in ("scratch", "b"):
        empty.done(method, "ncc", [{"auc": 0.5}, {"auc": 0.6}])
    document = across_document(main_table(empty.cells, empty.records), NAMES)
    assert "fewer than 5 units on some task: no interval" in markdown.document(document)
    assert ",0.55,,,1,2" in document.csv


def test_an_empty_ledger_has_documents_that_say_so() -> None:
    table = main_table([], {})
    assert "No results yet." in markdown.document(variance_document(table))
    assert "No method has a value on every task." in markdown.document(across_document(table, {}))
