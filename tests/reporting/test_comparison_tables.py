import csv
import io
import statistics
from dataclasses import replace
from typing import Any

import pytest

from sg_bench.reporting import Table, html, latex, main_table, markdown
from sg_bench.reporting.comparison_tables import NOTHING, comparison_documents
from sg_bench.reporting.documents import Document
from sg_bench.reporting.published import comparisons
from sg_bench.reporting.writing import method_names

EMPTY = main_table([], {})
FORMS = (markdown.document, latex.document, html.document)


def documents(table: Table, name: str) -> list[Document]:
    (comparison,) = [each for each in comparisons() if each.name == name]
    return comparison_documents(comparison, table, method_names(table))


def text(table: Table, name: str, which: int = 0) -> str:
    return markdown.document(documents(table, name)[which])


def csv_lines(document: Document) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document.csv)))


def row(written: str, method: str) -> list[str]:
    (line,) = [line for line in written.split("\n") if line.startswith(f"| {method} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("comparison", comparisons(), ids=lambda comparison: comparison.name)
def test_a_comparison_of_which_nothing_was_run_is_printed_with_its_published_column(comparison: Any) -> None:
    document = comparison_documents(comparison, EMPTY, {})[0]
    written = markdown.document(document)
    assert NOTHING in written
    assert written.count("not run") == len(comparison.methods) * len(comparison.tasks)
    assert [head.text for head in document.tables[0].headings].count("published") == len(comparison.tasks)
    assert all(form(document) for form in FORMS)


def test_the_published_value_follows_each_method() -> None:
    written = text(EMPTY, "methods-3d")
    assert "94.25 ± 5.07" in row(written, "scratch")
    assert "98.46 ± 0.30" in row(written, "semantic_genesis")


def test_a_digitised_value_is_marked_and_an_unknown_one_says_why() -> None:
    assert "≈ 97.24 ± 1.09" in row(text(EMPTY, "addons"), "inpainting+semantics")
    assert any(cell.startswith("?") for cell in row(text(EMPTY, "methods-2d"), "semantic_genesis"))
    assert "no readable source has them" in text(EMPTY, "methods-2d")


def test_a_method_that_does_not_exist_here_and_one_that_the_suite_lacks_have_other_reasons(study_table: Table) -> None:
    written = text(study_table, "methods-3d")
    assert "sg-bench has no method of this name yet." in written or "The suite does not have this method." in written
    assert "the decoder and heads that the authors put on it are unpublished" in written
    assert "The suite does not have the task lcs." in written


def test_our_deviation_with_ddof_0_is_given_with_the_published_one_only(study_table: Table) -> None:
    written = row(text(study_table, "methods-3d"), "scratch")
    scratch = next(each for each in study_table.rows if each.method == "scratch")
    for column, cell in zip(study_table.columns, scratch.summaries, strict=True):
        if "fraction" not in column.task:
            honest = f"{100 * (cell.mean or 0):.2f} ± {100 * (cell.std or 0):.2f}"
            population = "" if column.metric == "iou_bin" else f" [{100 * statistics.pstdev(cell.values):.2f}]"
            assert honest + population in [each.strip("†") for each in written]


def test_shares_of_the_labels_are_no_columns_of_a_comparison(study_table: Table) -> None:
    assert "fraction" not in text(study_table, "methods-3d").split("\n\n¹")[0]


def test_two_labels_of_one_method_are_two_rows(study_table: Table) -> None:
    written = text(study_table, "methods-3d")
    assert row(written, "mine")[1:3] != row(written, "models_genesis")[1:3]
    assert row(written, "mine")[2] == row(written, "models_genesis")[2]


def test_numbers_made_on_other_data_are_said_not_to_be_comparable(study_table: Table) -> None:
    assert "Not comparable with the published numbers, ncc: other data: phantom" in text(study_table, "methods-3d")


def test_the_best_and_its_ties_are_decided_among_the_rows_of_the_comparison(study: Any) -> None:
    for cell in study.cells:
        if cell.method == "mine" and cell.key in study.records:
            study.records[cell.key]["recipe"]["initialisation"]["method"] = "of_no_comparison"
            study.records[cell.key]["metrics"] = dict.fromkeys(study.records[cell.key]["metrics"], 0.99)
    written = text(main_table(study.cells, study.records), "ablation")
    assert "**" in row(written, "semantic_genesis")[1]
    assert "99.00" not in written


def test_a_leaking_cell_is_starred_with_its_reason(study: Any) -> None:
    for record in study.records.values():
        if record["recipe"]["initialisation"]["method"] == "models_genesis":
            record["leak"] = "pretrained on its test patients"
    table = main_table(study.cells, study.records)
    written = text(table, "methods-3d")
    assert "★" in row(written, "models_genesis")[1]
    assert "★" not in row(written, "scratch")[1]
    assert "★ pretrained on its test patients" in written
    leaks = {line["method"]: line["leak"] for line in csv_lines(documents(table, "methods-3d")[0]) if line["mean"]}
    assert leaks["models_genesis"] == "pretrained on its test patients"
    assert not leaks["scratch"]


def test_the_csv_has_measured_and_published_numbers_as_fractions(study_table: Table) -> None:
    found = csv_lines(documents(study_table, "methods-3d")[0])
    (line,) = [each for each in found if (each["method"], each["task"]) == ("scratch", "ncc")]
    assert float(line["published"]) == 0.9425
    assert 0 < float(line["low"]) < float(line["mean"]) < float(line["high"]) < 1
    assert float(line["std_ddof0"]) < float(line["std"])
    (missing,) = [each for each in found if (each["method"], each["task"]) == ("i3d", "lcs")]
    assert missing["not_run"]
    assert missing["published"] == "0.7065"


def test_latex_names_the_records_of_a_measured_cell(study: Any, study_table: Table) -> None:
    written = latex.document(documents(study_table, "methods-3d")[0])
    keys = [cell.key[:12] for cell in study.cells if (cell.method, cell.task) == ("scratch", "ncc")]
    assert f"% cell: scratch/ncc keys {' '.join(keys)}" in written


def test_pairs_are_adjusted_by_holm_task_by_task(study: Any) -> None:
    document = documents(main_table(study.cells, study.records), "addons")[1]
    measured = [line for line in csv_lines(document) if line["p_welch"]]
    assert {(line["base"], line["with_semantics"]) for line in measured} == {("models_genesis", "semantic_genesis")}
    assert all(line["p_holm"] == line["p_welch"] for line in measured)  # a family of one
    assert [line["published"] for line in measured] == ["*, 0.039", "", "n.s., 0.26"]


def test_pairs_say_what_they_count_and_that_one_pretraining_is_one_checkpoint(study: Any) -> None:
    assert "hold for these checkpoints only" in text(main_table(study.cells, study.records), "addons", 1)
    several = main_table([replace(cell, pretraining_seed=cell.fine_tuning_seed) for cell in study.cells], study.records)
    printed = text(several, "addons", 1)
    assert "n counts pretraining seeds" in printed
    assert "checkpoints" not in printed


def test_a_pair_of_one_pretraining_and_several_is_not_tested(study: Any) -> None:
    cells = [
        replace(cell, pretraining_seed=cell.fine_tuning_seed) if cell.method == "semantic_genesis" else cell
        for cell in study.cells
    ]
    table = main_table(cells, study.records)
    lines = [line for line in csv_lines(documents(table, "addons")[1]) if line["difference"]]
    assert lines
    assert not any(line["p_welch"] or line["p_holm"] or line["p_paired_t"] for line in lines)
    assert "the units of one side are pretrainings" in text(table, "addons", 1)


def test_pairs_of_a_suite_without_any_are_said_to_be_absent() -> None:
    assert "No results for any pair." in text(EMPTY, "addons", 1)


def test_slices_and_volumes_of_one_task_are_columns_of_their_own(empty: Any) -> None:
    for task, auc in (("ncc", 0.9), ("ncc[data=phantom,protocol=slices]", 0.7), ("ncc[protocol=slices]", 0.8)):
        empty.done("scratch", task, [{"auc": auc}])
    table = main_table(empty.cells, empty.records)
    slices = csv_lines(documents(table, "slices")[0])
    found = {line["task"]: line["mean"] for line in slices if line["method"] == "scratch" and line["mean"]}
    assert found == {"ncc": "0.9", "ncc[data=phantom,protocol=slices]": "0.7", "ncc[protocol=slices]": "0.8"}
    whole = csv_lines(documents(table, "methods-3d")[0])
    assert {line["task"] for line in whole if line["mean"]} == {"ncc"}


def test_published_numbers_follow_the_papers_metric_or_the_headline_and_never_a_secondary_metric(
    empty: Any,
) -> None:
    empty.done("scratch", "ncc", [{"auc": 0.9, "auc_Mass": 0.8}])
    for record in empty.records.values():
        record["secondary"] = ["auc_Mass"]
    lines = csv_lines(documents(main_table(empty.cells, empty.records), "methods-3d")[0])
    found = {line["metric"]: line["published"] for line in lines if line["method"] == "scratch" and line["mean"]}
    assert found == {"auc": "0.9425", "auc_Mass": ""}
