import itertools

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.correlation import bootstrap_pearson, correlate, permutation_p


@pytest.fixture
def scores():
    random = np.random.default_rng(4)
    x = random.uniform(size=7)
    return x, x + random.normal(scale=0.4, size=7)


def test_coefficients_are_scipys(scores):
    found = correlate(*scores)
    assert found.pearson == pytest.approx(stats.pearsonr(*scores).statistic)
    assert found.pearson_p_normal == pytest.approx(stats.pearsonr(*scores).pvalue)
    assert found.spearman == pytest.approx(stats.spearmanr(*scores).statistic)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_the_exact_p_value_counts_all_orders(scores, count):
    x, y = (values[:count] for values in scores)
    r = abs(stats.pearsonr(x, y).statistic)
    orders = [abs(np.corrcoef(x, y[list(order)])[0, 1]) for order in itertools.permutations(range(count))]
    assert permutation_p(x, y) == pytest.approx(np.mean(np.array(orders) >= r - 1e-9))


def test_exact_p_of_ranks_is_scipys_for_spearman(scores):
    x, y = scores
    expected = stats.permutation_test(
        (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=np.inf
    ).pvalue
    assert correlate(x, y).spearman_p == pytest.approx(expected)


def test_a_perfect_order_of_ten_has_the_smallest_p():
    assert permutation_p(np.arange(10.0), np.arange(10.0)) == pytest.approx(2 / 3_628_800)


def test_ties_count():
    x = np.array([0.0, 0.0, 1.0, 1.0])
    assert permutation_p(x, x) == pytest.approx(1 / 3)  # 8 of 24 orders give r = 1 or -1


def test_more_than_ten_points_are_sampled():
    random = np.random.default_rng(5)
    x = random.uniform(size=12)
    y = x + random.normal(scale=0.5, size=12)
    found = correlate(x, y)
    assert "permutations" in found.p_method
    assert found.pearson_p == pytest.approx(found.pearson_p_normal, abs=0.02)


def test_the_interval_contains_r_and_is_reproducible(scores):
    low, high = bootstrap_pearson(*scores)
    assert low < stats.pearsonr(*scores).statistic < high
    assert (low, high) == bootstrap_pearson(*scores)


def test_the_intervals_are_fishers_and_stay_within_1(scores):
    found = correlate(*scores)
    of_scipy = stats.pearsonr(*scores).confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((of_scipy.low, of_scipy.high))
    for low, high in (found.spearman_ci, found.kendall_ci):
        assert -1 <= low < high <= 1
    assert correlate(np.arange(3.0), np.array([1.0, 3.0, 2.0])).spearman_ci == (None, None)


def test_a_bootstrap_of_constant_points_has_no_interval():
    assert bootstrap_pearson(np.ones(4), np.ones(4)) == (None, None)
    assert bootstrap_pearson(np.arange(3.0), np.arange(3.0)) == (None, None)


def test_undefined_correlations_are_none():
    assert correlate(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert correlate(np.ones(5), np.arange(5.0)) is None
    with pytest.raises(ValueError, match="shapes"):
        correlate(np.ones(5), np.ones(4))


def random_scores(case, count=None, ties=False):
    random = np.random.default_rng(case)
    count = count or int(random.integers(3, 6))
    x, y = random.normal(size=(2, count))
    y += random.uniform(-1, 1) * x
    return (np.round(x), np.round(y)) if ties else (x, y)


@pytest.mark.parametrize("case", range(20))
def test_all_three_are_scipys_and_their_p_counts_every_order(case):
    x, y = random_scores(case, ties=case % 2)
    found = correlate(x, y)
    if found is None:
        x[0] += 5
        y[0] += 5
        found = correlate(x, y)
    orders = np.array(list(itertools.permutations(range(len(x)))))
    for name, of_scipy in (
        ("pearson", stats.pearsonr),
        ("spearman", stats.spearmanr),
        ("kendall", stats.kendalltau),
    ):
        assert getattr(found, name) == pytest.approx(of_scipy(x, y).statistic)
        shuffled = np.array([abs(of_scipy(x, y[order]).statistic) for order in orders])
        expected = (shuffled >= abs(of_scipy(x, y).statistic) - 1e-9).mean()
        assert getattr(found, f"{name}_p") == pytest.approx(expected)
