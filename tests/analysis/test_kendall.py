import itertools
import math

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.kendall import concordance, tau_b, tau_p


@pytest.mark.parametrize("case", range(20))
def test_exact_p_without_ties_is_scipys(case):
    random = np.random.default_rng(case)
    x, y = random.normal(size=(2, random.integers(3, 11)))
    expected = stats.kendalltau(x, y, method="exact")
    assert tau_b(x, y) == pytest.approx(expected.statistic)
    assert tau_p(x, y, exact=True, seed=0) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("case", range(20))
def test_exact_p_with_ties_counts_every_order(case):
    random = np.random.default_rng(case)
    x, y = random.integers(0, 4, size=(2, 6))
    orders = [abs(concordance(x, y[list(order)])) for order in itertools.permutations(range(6))]
    assert tau_p(x, y, exact=True, seed=0) == pytest.approx(np.mean(np.array(orders) >= orders[0]))


def test_sampled_p_is_near_the_exact_one():
    x, y = np.random.default_rng(3).normal(size=(2, 9))
    y += x / 2
    exact = tau_p(x, y, exact=True, seed=0)
    assert tau_p(x, y, exact=False, seed=0) == pytest.approx(exact, abs=0.006)


def test_a_constant_variable_has_no_tau():
    assert math.isnan(tau_b(np.ones(4), np.arange(4)))
    assert tau_p(np.ones(4), np.arange(4), exact=True, seed=0) == 1.0
