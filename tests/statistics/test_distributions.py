"""The studentised maximum modulus agrees with SciPy, a closed form, and a slow integral of its definition."""

import numpy as np
import pytest
from scipy import integrate, stats

from sg_bench.statistics.distributions import maximum_modulus_sf

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
