"""Independent samples, compared with all regroupings and with SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.unpaired import compare_samples


@pytest.mark.parametrize("seed", range(20))
def test_the_p_value_agrees_with_all_regroupings(seed):
    random = np.random.default_rng(seed)
    first, second = random.integers(0, 6, 5), random.integers(0, 6, 6)
    values = np.concatenate([first, second])
    observed = abs(first.mean() - second.mean()) - 1e-12
    splits = list(itertools.combinations(range(11), 5))
    far = 0
    for chosen in splits:
        inside = np.isin(np.arange(11), chosen)
        far += abs(values[inside].mean() - values[~inside].mean()) >= observed
    assert compare_samples(first, second).p_value == pytest.approx(far / len(splits), abs=0.006)


def test_large_samples_agree_with_welch():
    random = np.random.default_rng(1)
    first, second = random.integers(0, 6, 1000), random.integers(0, 6, 900)
    found = compare_samples(first, second)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.02)
    interval = theirs.confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_edges():
    same = compare_samples(np.ones(5), np.ones(7))
    assert (same.difference, same.p_value, same.ci_low, same.ci_high) == (0.0, 1.0, 0.0, 0.0)
    assert compare_samples(np.zeros(50), np.full(50, 5.0)).p_value == pytest.approx(1e-5)
    assert compare_samples([1], [0]).p_value == 1.0
    first, second = np.arange(6.0), np.arange(4.0)
    assert compare_samples(first[::-1], second) == compare_samples(first, second[::-1])
    with pytest.raises(ValueError):
        compare_samples([], [1])
