"""The tidy table: a row for each planned run and metric, with the columns that its data dictionary describes."""

from typing import Any

from sg_bench.reporting import main_table, results_frame
from sg_bench.reporting.frame import COLUMNS, DTYPES


def test_there_is_a_row_for_each_planned_run_and_metric(ledger: Any) -> None:
    frame = results_frame(ledger.cells, ledger.records)
    metrics = {"ncc[data=phantom]": 2, "ncs[data=phantom]": 2, "bms": 1}
    assert len(frame) == sum(metrics[cell.task] for cell in ledger.cells)
    assert list(frame["method"].cat.categories) == list(dict.fromkeys(cell.method for cell in ledger.cells))
    assert frame.groupby("status", observed=True)["key"].nunique().to_dict() == {
        **{"done": 13, "failed": 2},
        **{"not run": 3, "missing": 1},
    }


def test_columns_have_the_described_types_whatever_is_missing(ledger: Any, study: Any) -> None:
    for cells, records in ((study.cells, study.records), (ledger.cells, {}), ([], {})):
        frame = results_frame(cells, records)
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
            column.name: DTYPES[column.type] for column in COLUMNS
        }


def test_scores_are_those_of_the_records_to_the_last_bit(study: Any) -> None:
    done = results_frame(study.cells, study.records).query("status == 'done'")
    assert [study.records[key]["metrics"][metric] for key, metric in zip(done["key"], done["metric"], strict=True)] == (
        done["value"].tolist()
    )
    row = done.iloc[0]
    assert (row["method_name"], row["n_train"], row["n_test"], row["device"]) == ("scratch", 12, 6, "cpu")


def test_a_group_of_rows_is_what_the_main_table_summarises(ledger: Any) -> None:
    table = main_table(ledger.cells, ledger.records)
    means = table.frame.groupby(["method", "task", "metric"], observed=True)["value"].mean()
    for row in table.rows:
        for column, summary in zip(table.columns, row.summaries, strict=True):
            if summary.n:
                assert abs(means[row.method, column.task, column.metric] - (summary.mean or 0)) < 1e-12
