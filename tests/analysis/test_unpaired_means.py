"""Independent samples, compared with all regroupings and with SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.unpaired import compare_samples

CHAIN = (0.0, 5.0)  # the bounds of an average length


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
    assert compare_samples(first, second, CHAIN).p_value == pytest.approx(far / len(splits), abs=0.006)


def test_large_samples_agree_with_welch():
    random = np.random.default_rng(1)
    first, second = random.integers(0, 6, 1000), random.integers(0, 6, 900)
    found = compare_samples(first, second, CHAIN)
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.02)
    interval = theirs.confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_edges():
    same = compare_samples(np.ones(5), np.ones(7), CHAIN)
    assert (same.difference, same.p_value) == (0.0, 1.0) and same.ci_low < 0 < same.ci_high
    assert compare_samples(np.zeros(50), np.full(50, 5.0), CHAIN).p_value == pytest.approx(1e-5)
    assert compare_samples([1], [0], CHAIN).p_value == 1.0
    first, second = np.arange(6.0), np.arange(4.0)
    assert compare_samples(first[::-1], second, CHAIN) == compare_samples(first, second[::-1], CHAIN)
    with pytest.raises(ValueError):
        compare_samples([], [1], CHAIN)


@pytest.mark.parametrize(("first", "second"), [(100, 100), (40, 200), (96, 12)])
def test_two_samples_of_zeros_have_an_interval(first, second):
    """Newcombe's combination of two Clopper-Pearson limits for no success."""
    found = compare_samples(np.zeros(first), np.zeros(second), CHAIN)
    limits = [-5 * stats.beta.ppf(0.975, 1, second), 5 * stats.beta.ppf(0.975, 1, first)]
    assert (found.ci_low, found.ci_high) == pytest.approx(limits, rel=1e-3)


def test_a_value_outside_the_bounds_is_refused():
    with pytest.raises(ValueError, match="within"):
        compare_samples([6.0, 1.0], [1.0], CHAIN)
