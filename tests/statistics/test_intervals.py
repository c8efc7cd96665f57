"""The intervals contain the mean as often as their level promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from sg_bench.statistics.intervals import bounded_interval, t_interval

RUNS, N = 20_000, 10


def test_the_interval_of_one_to_five_is_the_one_from_students_table():
    found = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * 2.5**0.5 / 5**0.5  # the 97.5 % point of t with 4 degrees of freedom
    assert found is not None
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_interval_is_that_of_scipy(level):
    values = np.random.default_rng(0).normal(0.8, 0.02, 7)
    low, high = stats.t.interval(level, 6, loc=values.mean(), scale=stats.sem(values))
    found = t_interval(list(values), level)
    assert found is not None
    assert (found.low, found.high, found.level) == pytest.approx((low, high, level))


@pytest.mark.parametrize("interval", [t_interval, bounded_interval])
@pytest.mark.parametrize("values", [[], [0.8]])
def test_fewer_than_two_values_have_no_interval(interval, values):
    assert interval(values) is None


@pytest.mark.parametrize("interval", [t_interval, bounded_interval])
@pytest.mark.parametrize("value", [0.0, 0.5, 0.1 + 0.2, 1.0])
def test_values_that_do_not_vary_have_an_interval_of_no_width(interval, value):
    found = interval([value] * 3)
    assert (found.low, found.high, found.level) == pytest.approx((value, value, 0.95))


@pytest.mark.parametrize("interval", [t_interval, bounded_interval])
@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_outside_zero_and_one_is_refused(interval, level):
    with pytest.raises(ValueError, match="must lie in"):
        interval([0.1, 0.2], level=level)


@pytest.mark.parametrize(
    ("values", "bounds", "message"),
    [
        ([0.5, 1.2], {}, r"must lie in \[0, 1\], not at 1.2"),
        ([-3, 2], {"low": -1, "high": 5}, r"must lie in \[-1, 5\], not at -3"),
        ([0.5, float("nan")], {}, "finite"),
        ([0.5, 0.6], {"low": 1.0, "high": 1.0}, "must be below the upper one"),
    ],
)
def test_scores_and_bounds_that_contradict_each_other_are_refused(values, bounds, message):
    with pytest.raises(ValueError, match=message):
        bounded_interval(values, **bounds)


def test_the_interval_that_left_the_range_stays_within_it():
    values = [0.5417, 0.6156]  # its t-interval is 11 to 105 %
    assert t_interval(values).high > 1
    mean, half = 0.57865, 12.70620 * 0.0739 / 2  # the 97.5 % point of t with 1 degree of freedom
    centre, width = logit(mean), half / (mean * (1 - mean))
    found = bounded_interval(values)
    assert (found.low, found.high) == pytest.approx((expit(centre - width), expit(centre + width)), abs=1e-5)
    assert (found.low, found.high) == pytest.approx((0.1668, 0.9040), abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_a_bounded_interval_contains_the_mean_and_stays_within_the_bounds(values):
    found = bounded_interval(values)
    assert 0 <= found.low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= found.high <= 1


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6))
def test_a_bounded_interval_follows_the_scale_and_the_direction_of_a_metric(values):
    plain = bounded_interval(values)
    percent = bounded_interval([100 * value for value in values], high=100)
    mirrored = bounded_interval([-value for value in values], low=-1, high=0)
    assert (percent.low, percent.high) == pytest.approx((100 * plain.low, 100 * plain.high), abs=1e-6)
    assert (mirrored.low, mirrored.high) == pytest.approx((-plain.high, -plain.low), abs=1e-8)


def test_far_from_the_bounds_a_bounded_interval_is_the_t_interval():
    values = list(np.random.default_rng(0).normal(0.6, 0.01, 10))
    plain, bounded = t_interval(values), bounded_interval(values)
    assert (bounded.low, bounded.high) == pytest.approx((plain.low, plain.high), abs=1e-4)


@pytest.mark.slow
def test_the_interval_holds_the_mean_of_normal_scores_in_95_percent_of_runs(report):
    rng = np.random.default_rng(1)
    drawn = {
        "normal": rng.normal(0, 1, (RUNS, N)),
        "skewed (exponential)": rng.exponential(1, (RUNS, N)) - 1,
        "skewed (lognormal)": rng.lognormal(0, 1, (RUNS, N)) - np.exp(0.5),
    }
    error = 2 * (0.95 * 0.05 / RUNS) ** 0.5
    report(
        f"coverage of 95 % intervals, n = {N}, {RUNS} runs (2 standard errors: {error:.4f}); percentile bootstrap: 2000"
    )
    for name, runs in drawn.items():
        report(f"  {name:22s} t {_t_coverage(runs):.4f}   bootstrap {_bootstrap_coverage(runs[:2000]):.4f}")
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


@pytest.mark.slow
def test_a_bounded_interval_contains_the_mean_of_beta_scores_at_least_as_often_as_the_t_interval(report):
    rng = np.random.default_rng(3)
    report(
        f"coverage of 95 % intervals of beta-distributed scores, {RUNS} runs; left: share of t-intervals outside [0, 1]"
    )
    for mean in (0.1, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98):
        for std in (0.005, 0.02, 0.05):
            size = mean * (1 - mean) / std**2 - 1
            for n in (2, 3, 5, 10):
                plain, outside, bounded = _beta_coverage(rng.beta(mean * size, (1 - mean) * size, (RUNS, n)), mean)
                figures = f"t {plain:.3f} (outside {outside:.3f})  bounded {bounded:.3f}"
                report(f"  mean {mean:.2f}  sd {std:.3f}  n {n:2d}   {figures}")
                assert bounded >= plain - 0.004
                assert bounded >= 0.93 or std > min(mean, 1 - mean)


def _beta_coverage(runs, mean):
    """Return the coverage of the t-interval, how often it leaves [0, 1], and the coverage of the bounded interval."""
    n = runs.shape[1]
    means, half = runs.mean(axis=1), stats.t.ppf(0.975, n - 1) * runs.std(axis=1, ddof=1) / n**0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(half > 0, half / (means * (1 - means)), 0.0)
        low, high = expit(logit(means) - width), expit(logit(means) + width)
    for run, ends in zip(runs[:100], zip(low, high, strict=True), strict=False):
        found = bounded_interval(list(run))  # the vectorised interval is the public one
        assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)
    outside = (means - half < 0) | (means + half > 1)
    return (np.abs(means - mean) <= half).mean(), outside.mean(), ((low <= mean) & (mean <= high)).mean()
