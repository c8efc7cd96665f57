"""The t-interval holds the mean as often as it says."""

import numpy as np
import pytest
from scipy import stats

from sg_bench.statistics.intervals import ConfidenceInterval, t_interval

RUNS, N = 20_000, 10


def test_the_interval_of_one_to_five_is_the_one_from_students_table():
    found = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * 2.5**0.5 / 5**0.5  # the 97.5 % point of t with 4 degrees of freedom
    assert found is not None
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_the_interval_is_that_of_scipy(confidence):
    values = np.random.default_rng(0).normal(0.8, 0.02, 7)
    low, high = stats.t.interval(confidence, 6, loc=values.mean(), scale=stats.sem(values))
    found = t_interval(list(values), confidence)
    assert found is not None
    assert (found.low, found.high, found.confidence) == pytest.approx((low, high, confidence))


@pytest.mark.parametrize("values", [[], [0.8]])
def test_fewer_than_two_values_have_no_interval(values):
    assert t_interval(values) is None


def test_values_that_do_not_vary_have_an_interval_of_no_width():
    assert t_interval([0.5, 0.5, 0.5]) == ConfidenceInterval(0.5, 0.5, 0.95)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_outside_zero_and_one_is_refused(confidence):
    with pytest.raises(ValueError, match="must lie in"):
        t_interval([0.1, 0.2], confidence)


@pytest.mark.slow
def test_the_interval_holds_the_mean_of_normal_scores_in_95_percent_of_runs(say):
    rng = np.random.default_rng(1)
    drawn = {
        "normal": rng.normal(0, 1, (RUNS, N)),
        "skewed (exponential)": rng.exponential(1, (RUNS, N)) - 1,
        "skewed (lognormal)": rng.lognormal(0, 1, (RUNS, N)) - np.exp(0.5),
    }
    error = 2 * (0.95 * 0.05 / RUNS) ** 0.5
    say(
        f"coverage of 95 % intervals, n = {N}, {RUNS} runs (2 standard errors: {error:.4f}); percentile bootstrap: 2000"
    )
    for name, runs in drawn.items():
        say(f"  {name:22s} t {_t_coverage(runs):.4f}   bootstrap {_bootstrap_coverage(runs[:2000]):.4f}")
    assert _t_coverage(drawn["normal"]) == pytest.approx(0.95, abs=0.015)


def _t_coverage(runs):
    """Return how often the t-interval of a run holds 0."""
    half = stats.t.ppf(0.975, N - 1) * runs.std(axis=1, ddof=1) / N**0.5
    holds = np.abs(runs.mean(axis=1)) <= half
    for run, expected in zip(runs[:100], holds[:100], strict=True):  # the vectorised interval is the public one
        found = t_interval(list(run))
        assert found is not None
        assert (found.low <= 0 <= found.high) == expected
    return holds.mean()


def _bootstrap_coverage(runs, resamples=1000):
    rng = np.random.default_rng(2)
    low, high = np.empty(len(runs)), np.empty(len(runs))
    for place, run in enumerate(runs):
        means = run[rng.integers(0, N, (resamples, N))].mean(axis=1)
        low[place], high[place] = np.quantile(means, [0.025, 0.975])
    return ((low <= 0) & (high >= 0)).mean()
