"""The quadratures agree with scipy, with closed forms, and with a slow integral of the definition."""

import numpy as np
import pytest
from scipy import integrate, stats

from sg_bench.statistics.distributions import dunnett_sf, maximum_modulus_sf, studentised_range_sf

FREEDOM = [4.0, 9.3, 18.0, 400.0]


def slow_maximum_modulus_sf(t, count, df):
    """Return the same by adaptive integration over the estimated standard deviation."""

    def inside(s):
        return (2 * stats.norm.cdf(t * s) - 1) ** count * stats.chi(df, scale=df**-0.5).pdf(s)

    return 1 - integrate.quad(inside, 0, 12, epsabs=1e-12, limit=400, points=[1.0])[0]


@pytest.mark.parametrize("df", FREEDOM)
def test_the_maximum_modulus_of_one_is_students_t(df):
    t = np.array([0.0, 0.5, 2.0, 6.0])
    assert maximum_modulus_sf(t, 1, np.full(4, df)) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("df", FREEDOM)
@pytest.mark.parametrize(("t", "count"), [(2.0, 3), (3.5, 36), (4.5, 66)])
def test_the_maximum_modulus_is_its_slow_integral(t, count, df):
    found = maximum_modulus_sf(np.array(t), count, np.array(df))
    assert found == pytest.approx(slow_maximum_modulus_sf(t, count, df), abs=1e-9)


def test_the_maximum_modulus_is_a_multivariate_t_without_correlation():
    box = stats.multivariate_t(shape=np.eye(3), df=9, seed=0)
    inside = box.cdf([2.5] * 3, lower_limit=[-2.5] * 3, maxpts=200_000)
    assert maximum_modulus_sf(np.array(2.5), 3, np.array(9.0)) == pytest.approx(1 - inside, abs=5e-4)


@pytest.mark.parametrize("df", FREEDOM)
@pytest.mark.parametrize(("q", "groups"), [(0.3, 9), (3.5, 2), (3.5, 3), (4.4, 9), (5.0, 12), (8.0, 20)])
def test_the_studentised_range_is_that_of_scipy(q, groups, df):
    found = studentised_range_sf(np.array(q), groups, np.array(df))
    assert found == pytest.approx(stats.studentized_range.sf(q, groups, df), abs=1e-9)


def test_dunnetts_own_example_has_the_p_values_that_scipy_documents():
    """Blood counts under two drugs and a control: Dunnett (1955), as the example of scipy.stats.dunnett gives them."""
    control = np.array([7.40, 8.50, 7.20, 8.24, 9.84, 8.32])
    drugs = [np.array([9.76, 8.80, 7.68, 9.36]), np.array([12.80, 9.68, 12.16, 9.20, 10.55])]
    samples = [control, *drugs]
    df = sum(len(sample) - 1 for sample in samples)
    error = (sum(((sample - sample.mean()) ** 2).sum() for sample in samples) / df) ** 0.5
    t = [(drug.mean() - control.mean()) / error / (1 / len(drug) + 1 / 6) ** 0.5 for drug in drugs]
    found = [dunnett_sf(value, np.array([4.0, 5.0]), 6, df) for value in t]
    assert found == pytest.approx([0.62004941, 0.0059035], abs=2e-4)


def test_dunnett_with_one_group_is_students_t():
    assert dunnett_sf(2.1, np.array([7.0]), 9, 14) == pytest.approx(2 * stats.t.sf(2.1, 14), rel=1e-9)


@pytest.mark.parametrize(("groups", "critical"), [(1, 2.09), (2, 2.38), (3, 2.54), (4, 2.65), (5, 2.73), (6, 2.80)])
def test_dunnetts_critical_values_are_those_of_his_table(groups, critical):
    """Two-sided 5 %, groups beside the control, 20 degrees of freedom: Dunnett, Biometrics 20 (1964), table II."""
    assert dunnett_sf(critical, np.full(groups, 10.0), 10, 20) == pytest.approx(0.05, abs=7e-4)
