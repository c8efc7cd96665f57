from dataclasses import replace
from statistics import fmean
from typing import Any

from sg_bench.reporting import main_table
from sg_bench.reporting.separation import Ties, compared, ties

FAR, NEAR, BEST = (0.5, 0.51, 0.52, 0.5, 0.51), (0.798, 0.803, 0.8, 0.796, 0.802), (0.8, 0.805, 0.81, 0.795, 0.8)


def runs(ledger: Any, method: str, values: tuple[float, ...]) -> None:
    ledger.done(method, "ncc", [{"auc": value} for value in values])


def test_what_is_clearly_worse_than_the_best_carries_no_mark(empty: Any) -> None:
    for method, values in (("far", FAR), ("near", NEAR), ("best", BEST)):
        runs(empty, method, values)
    found = ties(main_table(empty.cells, empty.records), 0)
    assert found == Ties(frozenset({"best"}), frozenset({"near"}), None, frozenset({"far", "near", "best"}))
    assert [found.word(method) for method in ("best", "near", "far", "absent")] == [
        "best", "inseparable", "separable", None
    ]  # fmt: skip


def test_below_five_runs_every_other_mean_is_marked_and_the_reason_given(empty: Any) -> None:
    runs(empty, "far", FAR[:4])
    runs(empty, "best", BEST[:4])
    found = ties(main_table(empty.cells, empty.records), 0)
    assert found.inseparable == {"far"}
    assert "n = 4" in str(found.reason)


def test_a_method_that_failed_often_does_not_keep_the_others_from_being_told_apart(empty: Any) -> None:
    runs(empty, "far", FAR)
    runs(empty, "best", BEST)
    runs(empty, "failing", FAR[:2])
    for seed in (2, 3, 4):
        empty.failed("failing", "ncc", seed, "method")
    table = main_table(empty.cells, empty.records)
    found = ties(table, 0)
    assert (found.best, found.inseparable) == (frozenset({"best"}), frozenset({"failing"}))
    assert found.reason is None
    assert [method for method, _ in compared(table, 0)] == ["far", "best"]


def test_an_incomplete_cell_above_the_best_is_neither_bold_nor_beaten(empty: Any) -> None:
    runs(empty, "best", FAR)
    runs(empty, "above", BEST)
    empty.failed("above", "ncc", 5, "method")
    found = ties(main_table(empty.cells, empty.records), 0)
    assert (found.best, found.inseparable) == (frozenset({"best"}), frozenset({"above"}))


def test_an_incomplete_cell_is_above_the_best_by_its_mean_over_pretrainings(empty: Any) -> None:
    runs(empty, "best", (0.8,) * 6)
    runs(empty, "above", (0.9, 0.75, 0.78, 0.75, 0.78))
    empty.failed("above", "ncc", 5, "method")
    places = (0, 1, 2, 1, 2, 0)
    cells = [replace(cell, pretraining_seed=places[cell.fine_tuning_seed]) for cell in empty.cells]
    table = main_table(cells, empty.records)
    above = table.rows[1].summaries[0]
    assert fmean(above.values) < 0.8 < fmean(above.units.values)
    assert [method for method, _ in compared(table, 0)] == ["best"]


def test_without_a_complete_cell_nothing_is_best(empty: Any) -> None:
    runs(empty, "a", BEST)
    empty.failed("a", "ncc", 5, "data")
    found = ties(main_table(empty.cells, empty.records), 0)
    assert (found.best, found.inseparable, found.word("a")) == (frozenset(), frozenset(), None)


def test_with_several_pretrainings_the_unit_is_the_pretraining(empty: Any) -> None:
    runs(empty, "a", FAR * 2)
    runs(empty, "b", BEST * 2)
    cells = [replace(cell, pretraining_seed=cell.fine_tuning_seed % 2) for cell in empty.cells]
    found = ties(main_table(cells, empty.records), 0)
    assert found.inseparable == {"a"}
    assert "n = 2" in str(found.reason)
