"""Labels saved are stated where they were measured, and nowhere else."""

import pytest

from sg_bench.reporting.figures.label_efficiency import crossing_fraction, crossings, curves, goal_of, plots
from sg_bench.reporting.figures.summaries import base_of


def test_a_task_is_separated_from_its_fraction():
    assert base_of("ncc") == ("ncc", 1.0)
    assert base_of("ncc[fraction=0.1]") == ("ncc", 0.1)
    assert base_of("ncc[steps=80,fraction=0.1]") == ("ncc[steps=80]", 0.1)


def test_the_crossing_is_interpolated_in_the_logarithm_of_the_fraction():
    assert crossing_fraction({0.01: 0.5, 1.0: 0.7}, 0.6) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "scores",
    [{0.1: 0.8, 1.0: 0.9}, {0.1: 0.5, 1.0: 0.6}, {0.1: 0.5, 0.5: 0.8, 1.0: 0.6}],
    ids=["reached before the first point", "never reached", "reached and lost again"],
)
def test_outside_the_measured_range_no_crossing_is_stated(scores):
    assert crossing_fraction(scores, 0.7) is None


def test_a_method_that_falls_back_counts_from_where_it_stays():
    assert crossing_fraction({0.1: 0.5, 0.2: 0.8, 0.4: 0.6, 0.8: 0.8}, 0.7) == pytest.approx(0.4 * 2**0.5)


def test_each_task_has_a_curve_a_method_over_all_fractions(evidence):
    panels = curves(evidence)
    assert [panel.task for panel in panels] == ["ncc", "ncs", "lcs", "bms"]
    assert all(panel.fractions == [0.05, 0.1, 0.25, 0.5, 1.0] for panel in panels)
    assert all(unit.n == 3 for panel in panels for units in panel.units.values() for unit in units.values())


def test_the_goal_is_scratch_with_all_labels(evidence):
    panel = curves(evidence)[1]
    assert goal_of(panel, ["scratch"]) == pytest.approx(panel.averages["scratch"][1.0].mean)
    found = crossings(panel, ["scratch"])
    assert "scratch" not in found
    assert all(0.05 < fraction <= 1 for fraction in found.values())
    assert "all other methods: not within the measured range" in plots(evidence)[0].caption


def test_without_scratch_at_full_labels_nothing_is_saved(make_study):
    found = make_study(("scratch", "inpainting"), ("ncc",), without=lambda m, t: (m, t) == ("scratch", "ncc"))
    assert goal_of(curves(found)[0], ["scratch"]) is None
    assert crossings(curves(found)[0], ["scratch"]) == {}
    assert "no saving can be stated" in plots(found)[0].caption
    assert "Dashed" not in plots(found)[0].caption


def test_a_suite_without_fractions_has_no_such_figure(small):
    assert plots(small) == []
