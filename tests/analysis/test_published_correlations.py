"""Tests of a published r, compared with SciPy on points that have this r."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.published_numbers import fisher_interval, pearson_t_test, smallest_significant_r


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_scipy(seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, int(random.integers(5, 30))))
    theirs = stats.pearsonr(x, y)
    assert pearson_t_test(theirs.statistic, len(x)) == pytest.approx(theirs.pvalue, rel=1e-6)
    interval = theirs.confidence_interval(0.95)
    assert fisher_interval(theirs.statistic, len(x)) == pytest.approx((interval.low, interval.high))
    assert pearson_t_test(smallest_significant_r(len(x)), len(x)) == pytest.approx(0.05)


def test_the_r_of_the_paper():
    low, high = fisher_interval(0.839, 9)
    assert (round(low, 2), round(high, 2)) == (0.39, 0.97)
    assert smallest_significant_r(9) == pytest.approx(0.666, abs=5e-4)


def test_too_few_points():
    with pytest.raises(ValueError):
        fisher_interval(0.5, 3)
