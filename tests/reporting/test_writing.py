"""Golden files: a change of any byte of a report is seen here. To accept one, copy what the test wrote."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sg_bench.digests import read_sealed, sealed_text
from sg_bench.ledger import SCHEMA
from sg_bench.reporting import console_table, main_table, write_report
from sg_bench.reporting.render import main_csv, markdown, scores_csv
from sg_bench.reporting.writing import FORMATS, method_names
from sg_bench.suite import MethodChoice, load_suite

GOLDEN = Path(__file__).parent / "golden"
TITLE = "everything"
NOTES = ["Made on the embedded phantom: a proving ground, not patients."]


@pytest.mark.parametrize("name", ["main.md", "main.csv", "main.tex", "main.html", "scores.csv"])
def test_the_tables_are_the_golden_ones_to_the_byte(ledger: Any, tmp_path: Path, name: str) -> None:
    main = write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    assert main == tmp_path / "tables" / "main.md"
    assert (main.parent / name).read_bytes() == (GOLDEN / name).read_bytes()


@given(st.randoms())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_the_records_changes_no_byte(ledger: Any, random: Any) -> None:
    keys = random.sample(sorted(ledger.records), len(ledger.records))
    table = main_table(ledger.cells, {key: ledger.records[key] for key in keys})
    texts = {"main.md": markdown(TITLE, table, NOTES), "main.csv": main_csv(table), "scores.csv": scores_csv(table)}
    for name, text in texts.items():
        assert text.encode() == (GOLDEN / name).read_bytes()


def test_writing_again_leaves_the_same_files(ledger: Any, tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    first = contents()
    write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    assert contents() == first


def test_cells_holds_exactly_the_records_that_were_used(ledger: Any, tmp_path: Path) -> None:
    cells = tmp_path / "cells"
    cells.mkdir()
    stale, mine = cells / f"{'0' * 64}.json", cells / "notes.json"
    for path in (stale, mine):
        path.write_text("{}")
    foreign = {"f" * 64: {"status": "done", "metrics": {}}}
    write_report(tmp_path, TITLE, ledger.cells, {**ledger.records, **foreign}, NOTES)
    assert {path.name for path in cells.iterdir()} == {f"{key}.json" for key in ledger.records} | {"notes.json"}
    for key, record in ledger.records.items():
        path = cells / f"{key}.json"
        assert read_sealed(path) == {"schema": SCHEMA, **record}
        assert path.read_text() == sealed_text({"schema": SCHEMA, **record})


DOCUMENTS = {"main", "label-efficiency", "cost", "significance", "variance", "across-tasks", "test-cases"}
"""Of the study, which has less than half of each of the papers' comparisons."""


def written(study: Any, folder: Path, ending: str) -> set[str]:
    tables = write_report(folder, TITLE, study.cells, study.records, NOTES).parent
    names = {path.stem for path in tables.glob(f"*.{ending}")} - {"scores"}
    for name in names:
        assert ending == "csv" or NOTES[0] in (tables / f"{name}.{ending}").read_text()
    return names


@pytest.mark.parametrize("ending", ["md", "csv", "tex", "html"])
def test_every_table_that_shows_something_is_written_in_every_form(study: Any, tmp_path: Path, ending: str) -> None:
    assert written(study, tmp_path, ending) == DOCUMENTS


def test_a_table_that_shows_nothing_is_not_written_and_removed_if_an_earlier_report_wrote_it(
    study: Any, tmp_path: Path
) -> None:
    tables = write_report(tmp_path, TITLE, study.cells, study.records, NOTES).parent
    mine, earlier = tables / "comparison-mine.md", tables / "comparison-addons-pairs.tex"
    for path in (mine, earlier):
        path.write_text("text")
    one = [cell for cell in study.cells if cell.task == "ncc" and cell.fine_tuning_seed < 2]
    write_report(tmp_path, TITLE, one, study.records, NOTES)
    names = ["cost", "main", "test-cases", "variance"]
    assert sorted(path.name for path in tables.iterdir()) == sorted(
        ["scores.csv", "comparison-mine.md", *(f"{name}.{ending}" for name in names for ending in FORMATS)]
    )
    assert "see significance" not in (tables / "main.md").read_text()


def test_a_comparison_is_written_where_most_of_it_was_planned(empty: Any, tmp_path: Path) -> None:
    for method in ("scratch", "self_classification", "self_restoration"):
        for task in ("ncc", "ncs", "lcs"):
            empty.done(method, task, [{"auc": 0.5}])
    assert "comparison-ablation" in written(empty, tmp_path, "md")
    empty.cells[:] = [cell for cell in empty.cells if cell.task != "lcs"]
    assert "comparison-ablation" not in written(empty, tmp_path, "md")


def test_the_order_of_the_records_changes_no_byte_of_any_table(study: Any, tmp_path: Path) -> None:
    for folder, keys in (("one", sorted(study.records)), ("other", sorted(study.records, reverse=True))):
        write_report(tmp_path / folder, TITLE, study.cells, {key: study.records[key] for key in keys}, NOTES)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "other" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_damaged_copy_of_a_record_is_written_again(ledger: Any, tmp_path: Path) -> None:
    key = next(iter(ledger.records))
    copy = tmp_path / "cells" / f"{key}.json"
    copy.parent.mkdir()
    copy.write_text('{"key": ')
    write_report(tmp_path, TITLE, ledger.cells, ledger.records, NOTES)
    assert read_sealed(copy) == {"schema": SCHEMA, **ledger.records[key]}


def test_the_suite_says_what_a_label_stands_for_while_nothing_of_it_is_done(empty: Any) -> None:
    empty.plan("ours", "ncc", 0)
    suite = load_suite("demo").model_copy(update={"methods": [MethodChoice(name="semantic_genesis", label="ours")]})
    table = main_table(empty.cells, empty.records)
    assert method_names(table, suite) == {"ours": "semantic_genesis"}
    assert method_names(table) == {"ours": "ours"}


def test_the_terminal_shows_the_same_numbers(ledger: Any) -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(console_table(main_table(ledger.cells, ledger.records), TITLE))
    text = console.export_text()
    assert "82.00 ± 2.83" in text
    assert "ncs[data=phantom]" in text
    assert "mean_iou_keras‡" in text
    assert "‡ papers' metric" in text
    assert "51.00 ± 1.41†" in text
    assert "hold for this checkpoint only" in text
    assert "¹ no data for 'brats'" in text


def test_a_legend_says_what_tests_count_and_which_methods_have_one_pretraining(study: Any) -> None:
    several = [replace(cell, pretraining_seed=cell.fine_tuning_seed) for cell in study.cells]
    printed = markdown(TITLE, main_table(several, study.records), NOTES)
    assert "Units of tests and intervals are pretrainings" in printed
    assert "checkpoint" not in printed
    mixed = [cell if cell.method == "mine" else other for cell, other in zip(study.cells, several, strict=True)]
    printed = markdown(TITLE, main_table(mixed, study.records), NOTES)
    assert "One pretraining in some cells of mine: these results hold for this checkpoint only" in printed
