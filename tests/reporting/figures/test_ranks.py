"""Ranks are drawn where enough was measured, with what they can and cannot separate."""

import pytest

from sg_bench.reporting.figures.ranks import critical_difference, plots, ranks_of


def test_equal_scores_share_the_mean_of_their_ranks():
    assert ranks_of([0.9, 0.5, 0.5, 0.7]) == [1, 3.5, 3.5, 2]


def test_the_critical_difference_is_that_of_the_paper():
    # Demsar 2006, table 5: q = 2.343 for three classifiers, 2.728 for five
    assert critical_difference(3, 6) == pytest.approx(2.343 * (3 * 4 / 36) ** 0.5, rel=1e-3)
    assert critical_difference(5, 30) == pytest.approx(2.728 * (5 * 6 / 180) ** 0.5, rel=1e-3)


def test_ranks_need_units_methods_and_tasks(make_study, small):
    assert plots(small) == []  # two units
    assert plots(make_study(("scratch", "mae"), ("ncc", "lcs"), pretraining_seeds=5, fractions=(1.0,))) == []
    assert plots(make_study(("scratch", "mae", "dino"), ("ncc",), pretraining_seeds=5, fractions=(1.0,))) == []


def test_a_figure_that_cannot_separate_anything_says_so(make_study):
    (plot,) = plots(make_study(("scratch", "mae", "dino"), ("ncc", "lcs"), pretraining_seeds=5, fractions=(1.0,)))
    assert "with so few tasks no difference of ranks can be significant" in plot.caption
    tasks = ("ncc", "ncs", "lcs", "bms")
    (plot,) = plots(
        make_study(("scratch", "mae", "dino"), tasks, pretraining_seeds=5, fine_tuning_seeds=1, fractions=(1.0,))
    )
    assert "differ significantly from 1.66 on (Nemenyi's test, 5 %), of at most 2" in plot.caption
