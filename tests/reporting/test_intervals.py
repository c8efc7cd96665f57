"""The interval of a bounded metric stays within its range, and the legend names it."""

from typing import Any

import pytest

from sg_bench.evaluation.metrics import METRICS, bounds_of
from sg_bench.reporting import main_table, markdown
from sg_bench.reporting.intervals import interval_sentences, score_interval
from sg_bench.reporting.significance import significance_document
from sg_bench.statistics.intervals import t_interval

NEAR_ONE = (0.95, 0.99)


@pytest.mark.parametrize("metric", [*(name for name in METRICS if METRICS[name].unit == "%"), "auc_Mass"])
def test_the_interval_of_a_bounded_metric_stays_within_its_range(metric: str) -> None:
    assert bounds_of(metric) == (0, 1)
    plain, found = t_interval(NEAR_ONE), score_interval(NEAR_ONE, metric)
    assert plain is not None
    assert found is not None
    assert plain.high > 1 > found.high > 0.97 > found.low > 0


def test_a_metric_without_bounds_has_the_t_interval() -> None:
    assert bounds_of("loss") is None
    assert score_interval((3.0, 5.0), "loss") == t_interval((3.0, 5.0))
    assert score_interval((0.5,), "auc") is None is score_interval((0.5,), "loss")


def test_the_legend_names_the_intervals_of_its_metrics_only() -> None:
    logit, plain = interval_sentences(["auc", "loss", "iou_bin", "loss"])
    assert "logit" in logit
    assert plain.startswith("95 % interval of loss: by t,")
    assert [*interval_sentences(["auc"])] == [logit]
    assert [*interval_sentences(["loss"])] == [plain]
    assert [*interval_sentences([])] == []


def test_no_printed_interval_leaves_0_to_100(empty: Any) -> None:
    for method, gain in (("scratch", 0.0), ("mine", 0.02)):
        empty.done(method, "ncc", [{"auc": score + gain} for score in (0.90, 0.97)])
    document = significance_document(main_table(empty.cells, empty.records), {})
    ends = [cell.text.split(" to ") for row in document.tables[0].rows for cell in row.cells if " to " in cell.text]
    assert len(ends) == 2
    assert all(0 <= float(end) <= 100 for interval in ends for end in interval)
    assert "logit" in markdown.document(document)
