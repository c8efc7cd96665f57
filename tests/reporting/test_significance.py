from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from sg_bench.reporting import Table, main_table, markdown
from sg_bench.reporting.documents import Document
from sg_bench.reporting.significance import CONVENTION, Family, family, significance_document

GOLDEN = Path(__file__).parent / "golden"
NAMES = {"scratch": "scratch", "models_genesis": "models_genesis", "semantic_genesis": "semantic_genesis"}


def found(table: Table, column: int = 0) -> Family:
    return family(table, column, NAMES)


def values(table: Table, method: str) -> tuple[float, ...]:
    return next(row.summaries[0].values for row in table.rows if row.method == method)


def text(document: Document) -> str:
    return markdown.document(document)


def test_the_significance_tables_are_the_golden_ones_to_the_byte(study_table: Table) -> None:
    written = text(significance_document(study_table, NAMES))
    assert written.encode() == (GOLDEN / "significance.md").read_bytes()


def test_methods_stand_in_the_order_of_their_means_with_one_best(study_table: Table) -> None:
    standings = found(study_table).standings
    assert [standing.method for standing in standings if standing.best] == ["semantic_genesis"]
    assert [standing.mean for standing in standings] == sorted((s.mean for s in standings), reverse=True)


def test_each_test_against_the_best_is_that_of_scipy(study_table: Table) -> None:
    best, other = values(study_table, "semantic_genesis"), values(study_table, "mine")
    against = next(s.against_best for s in found(study_table).standings if s.method == "mine")
    assert against["papers"] == pytest.approx(stats.ttest_ind(best, other).pvalue)
    assert against["welch"] == pytest.approx(stats.ttest_ind(best, other, equal_var=False).pvalue)
    assert against["mann_whitney"] == pytest.approx(stats.mannwhitneyu(best, other, method="exact").pvalue)
    assert against["paired_t"] == pytest.approx(stats.ttest_rel(best, other).pvalue)
    assert None not in (against["welch"], against["games_howell"], against["t3"])
    assert (against["welch"] or 0) <= (against["games_howell"] or 0) <= (against["t3"] or 0)


def test_the_papers_test_never_stands_alone_and_says_that_it_is_not_adjusted(study_table: Table) -> None:
    heads = [head.text for head in significance_document(study_table, NAMES).tables[0].headings]
    place = heads.index(f"t test ({CONVENTION})")
    assert {"Welch", "Mann-Whitney", "paired t", "Games-Howell", "Dunnett T3"} <= set(heads[place + 1 :])


def test_with_one_pretraining_the_table_speaks_of_this_checkpoint_only(study_table: Table) -> None:
    assert "hold for this checkpoint only" in text(significance_document(study_table, NAMES))


def test_no_p_value_below_five_runs(empty: Any) -> None:
    for method, base in (("scratch", 0.5), ("b", 0.6), ("c", 0.9)):
        empty.done(method, "ncc", [{"auc": base + n / 100} for n in range(4)])
    table = main_table(empty.cells, empty.records)
    for standing in family(table, 0, {}).standings:
        assert set(standing.against_best.values()) <= {None}
        assert standing.against_scratch.get("dunnett") is standing.against_scratch.get("welch_holm") is None
    written = text(significance_document(table, {}))
    assert "fewer than 5 units on one side: no p-value" in written
    assert "n = 4 is below 5" in written
    assert "0.0" not in written.replace("0.00", "")


def test_a_family_that_can_hardly_find_anything_is_warned_of(study_table: Table) -> None:
    assert "Warning: n = 6 and 6 comparisons" in text(significance_document(study_table, NAMES))


def test_only_shared_seeds_make_pairs(empty: Any) -> None:
    empty.done("a", "ncc", [{"auc": 0.5 + n / 100} for n in range(10)])
    for seed in range(6, 12):
        key = empty.plan("b", "ncc", seed)
        empty.records[key] = empty.records[empty.cells[0].key] | {"key": key, "metrics": {"auc": 0.4 + seed / 90}}
    against = next(
        s.against_best for s in family(main_table(empty.cells, empty.records), 0, {}).standings if s.tier and not s.best
    )
    others = [s.against_best for s in family(main_table(empty.cells, empty.records), 0, {}).standings if not s.best]
    assert against
    assert others[0]["welch"] is not None
    assert others[0]["paired_t"] is None


def test_without_scratch_nothing_is_compared_with_it(empty: Any) -> None:
    for method in ("a", "b"):
        empty.done(method, "ncc", [{"auc": 0.5 + n / 100} for n in range(5)])
    table = main_table(empty.cells, empty.records)
    assert family(table, 0, {}).reference is None
    assert "no method 'scratch' with a value on this task" in text(significance_document(table, {}))


def test_a_label_of_scratch_is_known_by_its_registered_name(empty: Any) -> None:
    for method in ("from nothing", "b"):
        empty.done(method, "ncc", [{"auc": 0.5 + n / 100} for n in range(5)])
    table = main_table(empty.cells, empty.records)
    assert family(table, 0, {"from nothing": "scratch"}).reference == "from nothing"


def test_an_empty_ledger_has_a_document_that_says_so() -> None:
    assert "No results yet." in text(significance_document(main_table([], {}), {}))
