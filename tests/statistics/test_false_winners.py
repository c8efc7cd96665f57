"""How often equal methods are separated: the simulations by which the rule of `separate` was chosen."""

from functools import lru_cache

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import stdtr

from sg_bench.statistics.distributions import maximum_modulus_sf
from sg_bench.statistics.families import dunnett, welch_holm
from sg_bench.statistics.ties import separate

RUNS, N, ALPHA = 20_000, 10, 0.05
ERROR = 2 * (ALPHA * (1 - ALPHA) / RUNS) ** 0.5
METHODS = [3, 7, 9, 12]
PUBLISHED = {
    "NCC": [5.07, 4.57, 0.51, 0.27, 1.74, 1.18, 1.78, 1.27, 0.59, 0.45, 0.30],
    "NCS": [1.97, 2.05, 0.32, 0.55, 0.55, 0.82, 0.61, 0.16, 0.40, 0.87, 0.52],
    "LCS": [5.42, 1.05, 0.58, 4.26, 4.83, 2.35, 1.41, 0.20, 2.15, 1.78, 1.30],
    "BMS": [4.04, 1.60, 1.35, 0.75, 3.84, 2.83, 5.22, 1.93, 1.29, 0.98, 0.38],
}
"""Standard deviations of the published 3D table, scratch first."""

SPREADS = {
    "equal variances": lambda k: np.ones(k),
    "spreads 1 to 4": lambda k: np.linspace(1, 4, k),
    "one spread x 5": lambda k: np.array([5.0] + [1.0] * (k - 1)),
    "NCC's spreads": lambda k: np.resize(PUBLISHED["NCC"], k),
}


class Runs:
    """Scores of k equal methods in many runs, and every method's comparison with the best of its run."""

    def __init__(self, scores):
        """Take scores (runs, k, n); NaN where a method has fewer values."""
        self.scores = scores
        self.k = scores.shape[1]
        n = np.sum(~np.isnan(scores[0]), axis=1)
        means, variances = np.nanmean(scores, axis=2), np.nanvar(scores, axis=2, ddof=1)
        every, best = np.arange(len(scores)), means.argmax(axis=1)
        self.other = np.arange(self.k) != best[:, None]
        self.gap = means[every, best][:, None] - means
        own, top = variances / n, (variances / n)[every, best][:, None]
        self.t = self.gap / np.sqrt(own + top)
        n_top = n[best][:, None]
        self.df = (own + top) ** 2 / (top**2 / (n_top - 1) + own**2 / (n - 1))
        pooled = ((n - 1) * variances + (n_top - 1) * variances[every, best][:, None]) / (n + n_top - 2)
        self.pooled_t, self.pooled_df = self.gap / np.sqrt(pooled * (1 / n + 1 / n_top)), n + n_top - 2
        self.common_t = self.gap / np.sqrt(2 * variances.mean(axis=1) / N)[:, None]

    def share(self, separable):
        """Return the share of runs in which the best is separable from any other."""
        return float((separable & self.other).any(axis=1).mean())

    def beyond(self, sf):
        """Return where t is beyond the critical value of `sf(t, df)`, interpolated over the degrees of freedom."""
        df = np.linspace(self.df.min(), self.df.max(), 30)
        return self.t > np.interp(self.df, df, [critical(lambda t, one=one: sf(t, one)) for one in df])

    def beyond_range(self):
        """Return where t is beyond the critical value of the studentised range of k means (Games-Howell)."""
        return self.t * 2**0.5 > np.interp(1 / self.df, INVERSE_DF, range_critical(self.k))


def critical(sf):
    return optimize.brentq(lambda t: float(sf(np.array(t))) - ALPHA, 0.5, 60)


INVERSE_DF = np.linspace(1 / 40, 1 / 3, 16)


@lru_cache
def range_critical(k):
    """Return the critical values of the studentised range at INVERSE_DF."""
    return [critical(lambda q, df=df: stats.studentized_range.sf(q, k, df)) for df in 1 / INVERSE_DF]


@lru_cache
def hsu_critical(k):
    """Return the one-sided critical value of Dunnett's test by simulation: what Hsu's comparison with the best uses."""
    rng = np.random.default_rng(9)
    draws = rng.normal(0, 1, (200_000, k))
    scale = np.sqrt(rng.chisquare(k * (N - 1), 200_000) / (k * (N - 1)))
    return np.quantile((draws[:, 1:] - draws[:, :1]).max(axis=1) / 2**0.5 / scale, 1 - ALPHA)


def figures(runs):
    """Return the share of false winners by rule."""
    k, pairs = runs.k, runs.k * (runs.k - 1) // 2
    p, pooled_p = 2 * stdtr(runs.df, -runs.t), 2 * stdtr(runs.pooled_df, -runs.pooled_t)
    found = {
        "T3": runs.beyond(lambda t, df: maximum_modulus_sf(t, pairs, np.array(df))),
        "Games-Howell": runs.beyond_range(),
        "Hsu": runs.common_t > hsu_critical(k),
        "Holm k-1, Welch": p < ALPHA / (k - 1),
        "Holm k-1, Student": pooled_p < ALPHA / (k - 1),
        "papers": pooled_p < ALPHA,
    }
    agrees_with_separate(runs, found["T3"])
    return {name: runs.share(separable) for name, separable in found.items()}


def agrees_with_separate(runs, separable):
    """The vectorised rule is the public one, in the runs of the smallest margins too."""
    expected = (separable & runs.other).any(axis=1)
    for run in [*range(40), *np.flatnonzero(expected)[:40]]:
        groups = {str(name): scores[~np.isnan(scores)] for name, scores in enumerate(runs.scores[run])}
        assert (len(separate(groups).inseparable) < runs.k) == expected[run]


def lines(title, shares):
    return f"  {title:32s}" + "  ".join(f"{name} {share:.4f}" for name, share in shares.items())


@pytest.mark.slow
def test_of_equal_methods_the_best_is_separated_from_another_in_at_most_five_percent_of_runs(report):
    rng = np.random.default_rng(0)
    report(f"share of {RUNS} runs with a false winner, n = {N} (2 standard errors at .05: {ERROR:.4f})")
    for name, spread in SPREADS.items():
        for k in METHODS:
            shares = figures(Runs(rng.normal(0, 1, (RUNS, k, N)) * spread(k)[:, None]))
            report(lines(f"k = {k:2d}, {name}", shares))
            assert shares["T3"] <= ALPHA + ERROR
            if name == "equal variances":
                assert shares["papers"] > 0.1
                assert shares["Holm k-1, Student"] > ALPHA + ERROR


@pytest.mark.slow
def test_neither_skew_nor_lost_runs_nor_many_methods_make_more_false_winners(report):
    rng = np.random.default_rng(1)
    lost = rng.normal(0, 1, (RUNS, 12, N))
    lost[:, ::2, 5:] = np.nan  # every other method has only five values
    cases = {
        "k = 12, every other n = 5": lost,
        "k = 12, skewed like an AUC": 1 - rng.exponential(1, (RUNS, 12, N)),
        "k = 20, equal variances": rng.normal(0, 1, (RUNS, 20, N)),
        "k = 12, n = 5": rng.normal(0, 1, (RUNS, 12, 5)),
    }
    report(f"the same, harder cases ({RUNS} runs; Hsu is meant for equal n = {N} only)")
    for name, scores in cases.items():
        shares = figures(Runs(scores))
        report(lines(name, {rule: share for rule, share in shares.items() if rule != "Hsu"}))
        assert shares["T3"] <= ALPHA + ERROR


@pytest.mark.slow
def test_t3_finds_a_true_best_almost_as_often_as_games_howell(report):
    rng = np.random.default_rng(3)
    report(f"share of {RUNS} runs in which a best is separated from one given other, k = 9, n = {N}")
    for gap in (1.5, 2.0, 2.5):
        runs = Runs(rng.normal(0, 1, (RUNS, 9, N)) + np.array([gap] + [0.0] * 8)[:, None])
        strict = runs.beyond(lambda t, df: maximum_modulus_sf(t, 36, np.array(df)))
        found = [
            (separable & runs.other & ~runs.other[:, :1])[:, -1].mean() for separable in (strict, runs.beyond_range())
        ]
        report(f"  d = {gap}: T3 {found[0]:.4f}  Games-Howell {found[1]:.4f}")
        assert found[1] - 0.08 < found[0] <= found[1]


@pytest.mark.slow
def test_against_scratch_dunnett_fails_with_the_published_spreads_and_welch_with_holm_does_not(report):
    rng = np.random.default_rng(2)
    report(f"share of {RUNS} runs in which any of 10 equal methods differs from scratch, n = {N}")
    dunnett_t = stats.multivariate_t(shape=(1 + np.eye(10)) / 2, df=11 * (N - 1))
    level = critical(lambda t: 1 - dunnett_t.cdf(np.full(10, t), lower_limit=np.full(10, -t), random_state=0))
    for name, spread in {"equal variances": [1.0] * 11, **PUBLISHED}.items():
        scores = rng.normal(0, 1, (RUNS, 11, N)) * np.array(spread)[:, None]
        pooled, holm = against_scratch(scores, level)
        report(f"  {name:32s}Dunnett {pooled.mean():.4f}  Holm over Welch {holm.mean():.4f}")
        assert holm.mean() <= ALPHA + ERROR
        assert (pooled.mean() <= ALPHA + ERROR) == (name == "equal variances")


def against_scratch(scores, level):
    """Return in which runs anything differs from the first method, by Dunnett and by Holm over Welch's tests."""
    means, variances = scores.mean(axis=2), scores.var(axis=2, ddof=1)
    gap = np.abs(means[:, 1:] - means[:, :1])
    pooled = (gap / np.sqrt(2 * variances.mean(axis=1, keepdims=True) / N) > level).any(axis=1)
    both = variances[:, 1:] + variances[:, :1]
    df = both**2 / (variances[:, 1:] ** 2 + variances[:, :1] ** 2) * (N - 1)
    welch = (2 * stdtr(df, -gap / np.sqrt(both / N)) < ALPHA / 10).any(axis=1)
    for run in range(40):
        groups = {str(name): values for name, values in enumerate(scores[run])}
        assert (min(dunnett(groups, "0").values()) < ALPHA) == pooled[run]
        assert (min(welch_holm(groups, "0").values()) < ALPHA) == welch[run]
    return pooled, welch


def test_the_critical_values_of_the_simulation_are_those_of_the_tables():
    """Studentised range, 5 %, 9 means, 18 degrees of freedom: 4.96; Student's t for one pair: 2.101."""
    assert critical(lambda q: stats.studentized_range.sf(q, 9, 18)) == pytest.approx(4.96, abs=0.005)
    assert critical(lambda t: maximum_modulus_sf(t, 1, np.array(18.0))) == pytest.approx(stats.t.ppf(0.975, 18))
