"""Every run is drawn, and the interval is over units."""

import pytest

from sg_bench.reporting.figures.seed_strips import panel_of, plots
from sg_bench.reporting.figures.summaries import axis_range
from sg_bench.statistics.intervals import bounded_interval


def test_every_run_is_a_dot_and_the_mean_is_over_pretrainings(evidence):
    strip = panel_of(evidence, "ncs").strips["inpainting"]
    assert sum(len(strip.of(seed)) for seed in range(3)) == 12
    means = [sum(strip.of(seed)) / 4 for seed in range(3)]
    assert strip.average.n == 3
    assert strip.average.mean == pytest.approx(sum(means) / 3)
    assert strip.average.interval == pytest.approx((bounded_interval(means).low, bounded_interval(means).high))


def test_with_one_pretraining_the_caption_speaks_of_checkpoints_only(small):
    assert "hold for these checkpoints only" in plots(small)[0].caption
    assert "vertical line" not in plots(small)[0].caption


def test_an_interval_much_longer_than_the_range_of_the_scores_is_cut_and_reported():
    axis, cut = axis_range([0.50, 0.52], [(0.1, 0.9)])
    assert axis == pytest.approx((0.4728, 0.5472))
    assert cut
    assert axis_range([0.50, 0.52], [(0.49, 0.53)])[1] is False
    assert axis_range([0.5], [None])[1] is False
