"""Tests over training seeds, against scipy's t tests in the cases that have one, and their level."""

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import sign_flip
from vlm4vla.analysis.seed_spread import (
    SeedMeans,
    SeedSpread,
    difference_test,
    mean_interval,
    pooled_spread,
    scale,
)


def test_seed_means_have_the_variance_of_numpy_and_the_luck_of_a_two_way_layout():
    values = np.random.default_rng(0).integers(0, 6, size=(4, 30))
    found = SeedMeans.of(values, 5)
    assert found.variance == pytest.approx(np.var(values.mean(axis=1) / 5, ddof=1))
    table = values / 5
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    assert found.luck == pytest.approx((rest**2).sum() / (3 * 29) / 30)
    assert (found.score, found.seeds, found.states) == (pytest.approx(table.mean()), 4, 30)


def test_equal_scores_pool_their_degrees_of_freedom():
    policies = [SeedMeans(0.5, 3, 100, variance, 0.001) for variance in (0.01, 0.03, 0.02)]
    found = pooled_spread([*policies, SeedMeans(0.4, 1, 100, 0.0, 0.0)])
    assert found.freedom == pytest.approx(6)
    assert found.observed == pytest.approx(0.02 / scale(0.5, 100))
    assert found.deviation == pytest.approx(np.sqrt(0.019 / scale(0.5, 100)))
    assert pooled_spread([SeedMeans(0.4, 1, 100, 0.0, 0.0)]) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_without_luck_it_is_students_t_test_of_the_seeds_means(seeds):
    """The outcomes of a seed are alike on all states, so only the seeds matter."""
    random = np.random.default_rng(seeds)
    sides = [
        SeedMeans(0.5 + shift, seeds, 40, float(np.var(means, ddof=1)), 0.0)
        for shift, means in ((-0.02, random.normal(0, 0.05, seeds)), (0.02, random.normal(0, 0.05, seeds)))
    ]
    found = difference_test(*sides, np.full(40, 0.04), pooled_spread(sides), 1.0)
    error = np.sqrt((sides[0].variance + sides[1].variance) / seeds)
    freedom = 2 * (seeds - 1)
    expected = 2 * stats.t.sf(0.04 / error, freedom)
    # The variance is at least the measured one, so p is larger where the t distribution has a smaller one.
    assert expected <= found.p_value(0.04) <= 1.3 * expected + 0.02
    assert found.p_value(0.0) == pytest.approx(1.0)


def test_without_a_spread_it_is_students_t_test_of_the_states():
    difference = np.random.default_rng(3).normal(0.1, 0.3, size=50)
    sides = [SeedMeans(0.5, 3, 50, 0.0, 0.0), SeedMeans(0.4, 3, 50, 0.0, 0.0)]
    found = difference_test(*sides, difference, SeedSpread(0.0, 0.0, 4.0), 1.0)
    expected = stats.ttest_1samp(difference, 0.0)
    assert found.p_value(float(difference.mean())) == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.half_width() == pytest.approx((interval.high - interval.low) / 2, rel=1e-4)


def table_of(random, methods, seeds, spread, states=100):
    skill = random.normal(0, spread, size=(methods, seeds, 1))
    chance = 1 / (1 + np.exp(-skill - random.normal(size=states)))
    return (random.uniform(size=chance.shape) < chance).astype(int)


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.4), (3, 0.4), (3, 0.8)])
def test_a_table_of_ten_equal_methods_rarely_has_a_mark(seeds, spread):
    """The test over states alone marks most of these tables."""
    random, tables = np.random.default_rng(6), 60
    marked = alone = 0
    for _ in range(tables):
        table = table_of(random, 10, seeds, spread)
        means = [SeedMeans.of(method, 1) for method in table]
        pooled, by_state = pooled_spread(means), table.mean(axis=1)
        p, states = [], []
        for one in range(10):
            for other in range(one):
                difference = by_state[one] - by_state[other]
                states.append(sign_flip((table[one] - table[other]).sum(axis=0)))
                test = difference_test(means[one], means[other], difference, pooled, 1)
                p.append(max(states[-1], test.p_value(difference.mean())))
        marked += min(holm(p)) < 0.05
        alone += min(holm(states)) < 0.05
    print(
        f"{seeds} seeds, spread {spread}: {marked} of {tables} tables have a mark ({alone} by states alone)"
    )
    assert marked <= stats.binom.ppf(0.999, tables, 0.05) and alone > tables / 2


def test_the_interval_of_a_mean_holds_where_seeds_differ_much():
    random, runs, inside = np.random.default_rng(7), 150, 0
    truth = float(np.mean(1 / (1 + np.exp(-np.random.default_rng(0).normal(0, np.hypot(1, 0.8), 1_000_000)))))
    for _ in range(runs):
        table = table_of(random, 8, 3, 0.8)
        pooled = pooled_spread([SeedMeans.of(method, 1) for method in table])
        low, high = mean_interval(table[0], np.zeros(100, dtype=int), pooled)
        inside += low <= truth <= high
    assert inside >= stats.binom.ppf(0.01, runs, 0.95)


@pytest.mark.parametrize("rate", [0, 1])
def test_seeds_that_never_fail_or_never_succeed_leave_doubt(rate):
    outcomes = np.full((3, 50), rate)
    doubt = stats.beta.ppf(0.975, 1, 50)
    expected = (0, doubt) if rate == 0 else (1 - doubt, 1)
    pooled = pooled_spread([SeedMeans.of(outcomes, 1)])
    assert mean_interval(outcomes, np.zeros(50, dtype=int), pooled) == pytest.approx(expected)


def test_one_seed_has_no_interval_over_seeds():
    with pytest.raises(ValueError, match="two or more seeds"):
        mean_interval(np.ones((1, 5)), np.zeros(5, dtype=int))
