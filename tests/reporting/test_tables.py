import io
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sg_bench.reporting import ScoreSummary, console_table, html, latex, main_table
from sg_bench.reporting.console import shared_variant
from sg_bench.reporting.render import cell_text, main_csv, main_document, markdown, scores_csv

scores = st.lists(st.floats(0, 1), min_size=2, max_size=30)


@given(scores)
def test_mean_and_std_are_those_of_numpy_with_ddof_1(values: list[float]) -> None:
    summary = ScoreSummary(planned=len(values), values=tuple(values))
    assert summary.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert summary.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)


@given(scores, st.randoms())
def test_mean_and_std_do_not_depend_on_the_order_of_the_values(values: list[float], random: Any) -> None:
    shuffled = random.sample(values, len(values))
    one, other = (ScoreSummary(planned=len(values), values=tuple(order)) for order in (values, shuffled))
    assert (one.mean, one.std) == (other.mean, other.std)


@given(st.floats(0, 1))
def test_one_value_has_a_mean_and_no_std(value: float) -> None:
    summary = ScoreSummary(planned=1, values=(value,))
    assert (summary.mean, summary.std, summary.complete) == (value, None, True)


def test_no_value_has_neither_mean_nor_std() -> None:
    summary = ScoreSummary(planned=2, pending=2)
    assert (summary.mean, summary.std, summary.complete) == (None, None, False)


def test_rows_and_columns_stand_in_the_order_of_the_plan(ledger: Any) -> None:
    table = main_table(ledger.cells, ledger.records)
    assert [row.method for row in table.rows] == list(dict.fromkeys(cell.method for cell in ledger.cells))
    assert [(table.columns[i].task, table.columns[i].metric) for i in table.printed] == [
        ("ncc[data=phantom]", "auc"),
        ("ncs[data=phantom]", "iou_bin"),
        ("ncs[data=phantom]", "mean_iou_keras"),
        ("bms", ""),
    ]


def test_a_run_that_two_seeds_share_counts_once(empty: Any, auc_run: Any) -> None:
    empty.done("scratch", "ncc", [auc_run(0.7)])
    summary = main_table(empty.cells * 3, empty.records).rows[0].summaries[0]
    assert (summary.planned, summary.values) == (1, (0.7,))


def test_a_higher_mean_of_an_incomplete_cell_is_not_the_best(ledger: Any) -> None:
    table = main_table(ledger.cells, ledger.records)
    assert [table.best(index) for index in table.printed] == [82.0, 59.0, 78.0, None]
    assert table.rows[2].summaries[table.printed[1]].mean == 0.9


def test_equal_means_as_printed_are_all_bold(empty: Any, auc_run: Any) -> None:
    for method, auc in (("a", 0.800001), ("b", 0.800002), ("c", 0.7999)):
        empty.done(method, "ncc", [auc_run(auc)])
    text = markdown("tie", main_table(empty.cells, empty.records), [])
    assert text.count("**80.00 ± –**") == 2
    assert "**79.99" not in text


def test_a_cell_that_the_suite_does_not_ask_for_is_blank(empty: Any, auc_run: Any) -> None:
    empty.done("a", "ncc", [auc_run(0.8)])
    empty.done("b", "lcs", [auc_run(0.8)])
    table = main_table(empty.cells, empty.records)
    assert cell_text(table.rows[0].summaries[table.printed[1]], table) == ""
    assert "Blank: not part of the suite." in markdown("gaps", table, [])
    assert "\na,lcs" not in main_csv(table)


def test_n_is_shown_in_every_cell_where_the_plans_differ(empty: Any, auc_run: Any) -> None:
    empty.done("a", "ncc", [auc_run(0.8)])
    empty.done("b", "ncc", [auc_run(0.7), auc_run(0.7)])
    text = markdown("unequal", main_table(empty.cells, empty.records), [])
    assert "80.00 ± – (n=1)" in text
    assert "70.00 ± 0.00† (n=2)" in text


def test_absent_data_that_were_there_when_the_cell_was_computed_do_not_hide_its_record(empty: Any) -> None:
    empty.done("a", "ncc", [{"auc": 0.8}])
    (cell,) = empty.cells
    again = type(cell)(cell.key, cell.method, cell.task, 0, 0, "gone since")
    assert main_table([again], empty.records).rows[0].summaries[0].complete


def test_different_reasons_have_footnotes_of_their_own(empty: Any) -> None:
    for number in range(12):
        empty.plan("a", f"task{number}", 0, f"reason {number}")
    text = markdown("absent", main_table(empty.cells, empty.records), [])
    assert "–¹²" in text
    assert "\n¹² reason 11\n" in text


def test_std_is_the_sample_deviation_in_percent(ledger: Any) -> None:
    table = main_table(ledger.cells, ledger.records)
    assert cell_text(table.rows[0].summaries[0], table) == f"72.00 ± {100 * statistics.stdev([0.70, 0.74]):.2f}"


def test_an_empty_plan_still_has_a_table() -> None:
    assert "| method |" in markdown("nothing", main_table([], {}), [])


class TestSecondaryMetrics:
    """Where most cases are negative, the Dice of the positive ones stands next to the headline."""

    @pytest.fixture
    def films(self, empty: Any) -> Any:
        for method, dice in (("a", 0.1), ("b", 0.4)):
            runs = [
                {"dice_case": 0.78, "iou_bin": 0.2, "mean_iou_keras": 0.6, "dice_positive": dice + n} for n in (0, 0.1)
            ]
            empty.done(method, "pxs", runs, "mean_iou_keras")
        for record in empty.records.values():
            record["secondary"] = ["dice_positive"]
        return empty

    def test_it_is_printed_between_the_headline_and_the_papers_metric(self, films: Any) -> None:
        table = main_table(films.cells, films.records)
        assert [(table.columns[i].metric, table.columns[i].role) for i in table.printed] == [
            ("dice_case", "headline"),
            ("dice_positive", "secondary"),
            ("mean_iou_keras", "parity"),
        ]

    def test_every_form_shows_it_and_none_calls_it_the_papers_metric(self, films: Any) -> None:
        table = main_table(films.cells, films.records)
        document = main_document("films", table, [])
        written = [markdown("films", table, []), html.document(document), latex.document(document).replace("\\_", "_")]
        console = Console(file=io.StringIO(), width=160)
        console.print(console_table(table))
        for text in (*written, console.file.getvalue()):  # type: ignore[attr-defined]
            assert "dice_positive" in text
            assert "dice_positive (papers" not in text
            assert "15.00" in text

    def test_the_legend_says_what_it_is_and_what_it_is_for(self, films: Any) -> None:
        text = markdown("films", main_table(films.cells, films.records), [])
        assert "dice_positive: Mean Dice of the cases that hold foreground. Without it the headline metric" in text

    def test_of_no_other_table_does_the_legend_speak_of_it(self, ledger: Any) -> None:
        assert "Without it" not in markdown("none", main_table(ledger.cells, ledger.records), [])

    def test_in_the_csv_it_is_no_headline_and_its_best_is_marked(self, films: Any) -> None:
        lines = main_csv(main_table(films.cells, films.records)).split("\n")
        (best,) = [line for line in lines if line.startswith("b,pxs,dice_positive,no,")]
        assert ",best," in best

    def test_a_metric_that_is_both_stands_once(self, films: Any) -> None:
        for record in films.records.values():
            record["secondary"] = ["dice_case", "mean_iou_keras"]
        table = main_table(films.cells, films.records)
        assert [table.columns[i].role for i in table.printed] == ["headline", "parity"]


def test_fourteen_findings_are_columns_of_the_csv_and_of_no_printed_table(empty: Any) -> None:
    names = [f"auc_{number}" for number in range(14)]
    empty.done("a", "dxc", [{"auc": 0.7, **dict.fromkeys(names, 0.7)}])
    table = main_table(empty.cells, empty.records)
    assert [table.columns[i].metric for i in table.printed] == ["auc"]
    assert "auc_13" not in markdown("films", table, [])
    assert all(f"\na,dxc,{name},no," in main_csv(table) for name in names)
    assert scores_csv(table).startswith("key,method,task,pretraining_seed,fine_tuning_seed,auc,auc_0,")


class TestTerminal:
    @staticmethod
    def printed(table: Any, width: int = 120) -> str:
        console = Console(file=io.StringIO(), width=width)
        console.print(console_table(table))
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text

    @pytest.fixture
    def wide(self, empty: Any, auc_run: Any) -> Any:
        for method in ("scratch", "mine"):
            for task in ("ncc", "dxc", "a", "b", "c", "d", "e"):
                empty.done(method, f"{task}[data=phantom]", [auc_run(0.7)])
        return main_table(empty.cells, empty.records)

    def test_many_metrics_stand_one_under_the_other_in_a_narrow_terminal(self, wide: Any) -> None:
        lines = self.printed(wide, 60).splitlines()
        assert [line.split()[0] for line in lines if "70.00" in line] == ["ncc", "dxc", "a", "b", "c", "d", "e"]
        assert next(line.split() for line in lines if "metric" in line) == ["task", "metric", "scratch", "mine"]

    def test_what_all_tasks_share_is_said_once(self, wide: Any) -> None:
        assert self.printed(wide).count("data=phantom") == 1
        assert "All tasks: data=phantom." in self.printed(wide)

    def test_what_only_some_tasks_share_stays_with_them(self) -> None:
        assert shared_variant(["ncc[data=phantom]", "dxc"]) == {}
        assert shared_variant(["ncc[data=phantom]"]) == {}
        assert shared_variant(["a[data=x,steps=3]", "b[data=x,steps=4]", "b[data=x]"]) == {"data": "x"}
