from pathlib import Path
from typing import Any

import pytest

from sg_bench.reporting import Table, main_table, markdown
from sg_bench.reporting.label_efficiency import NOTHING, label_efficiency_document, shares

GOLDEN = Path(__file__).parent / "golden"


def test_the_table_of_label_efficiency_is_the_golden_one_to_the_byte(study_table: Table) -> None:
    written = markdown.document(label_efficiency_document(study_table))
    assert written.encode() == (GOLDEN / "label-efficiency.md").read_bytes()


def test_shares_of_one_task_and_variant_belong_together_growing() -> None:
    tasks = ["ncc", "ncc[fraction=0.5]", "ncc[data=x,fraction=0.1]", "ncc[fraction=0.05]", "lcs"]
    found = {name: [share.fraction for share in group] for name, group in shares(tasks).items()}
    assert found == {"ncc": [0.05, 0.5, 1.0], "ncc[data=x]": [0.1]}


def test_a_suite_without_shares_has_a_document_that_says_so(ledger: Any) -> None:
    document = label_efficiency_document(main_table(ledger.cells, ledger.records))
    assert document.notes == (NOTHING,)
    assert document.csv.count("\n") == 1


@pytest.mark.parametrize("line", ["ncc,0.1,2,auc,headline,scratch,", "ncc,1.0,12,auc,headline,scratch,"])
def test_the_csv_has_a_line_a_share(study_table: Table, line: str) -> None:
    assert f"\n{line}" in label_efficiency_document(study_table).csv


def test_a_secondary_metric_has_a_table_of_its_own_after_the_headline(empty: Any) -> None:
    for share in ("[fraction=0.1]", "[fraction=0.5]", ""):
        empty.done("a", f"pxs{share}", [{"dice_case": 0.8, "dice_positive": 0.3}])
    for record in empty.records.values():
        record["secondary"] = ["dice_positive"]
    document = label_efficiency_document(main_table(empty.cells, empty.records))
    titles = [table.title for table in document.tables]
    assert titles == ["Label efficiency: pxs · dice_case", "Label efficiency: pxs · dice_positive"]
    assert all(
        [heading.text for heading in table.headings[1:]] == [f"{n} % of labels" for n in (10, 50, 100)]
        for table in document.tables
    )
    assert "\npxs,0.1,,dice_positive,secondary,a,0.3," in document.csv
