"""Scores are checked once, and rounding is no spread."""

import numpy as np
import pytest

from sg_bench.statistics.samples import finite, variance


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused_by_its_value(wrong):
    with pytest.raises(ValueError, match=f"finite numbers, not {wrong}"):
        finite([0.5, wrong])


def test_the_variance_is_the_sample_variance():
    assert variance(finite([1.0, 2.0, 3.0, 4.0])) == pytest.approx(5 / 3)


def test_values_that_differ_by_rounding_alone_do_not_vary():
    assert variance(finite([0.1 + 0.2, 0.3, 0.3])) == 0.0
    assert np.var([0.1 + 0.2, 0.3, 0.3], ddof=1) > 0
