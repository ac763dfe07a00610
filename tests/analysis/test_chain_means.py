"""The uncertainty of a mean, compared with simulated chains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.chain_means import compare_means, from_mean, from_rates


def chains(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.choice(6, size=int(random.integers(5, 400)), p=random.dirichlet(np.ones(6)))


@pytest.mark.parametrize("seed", range(25))
def test_bounds_hold_and_rates_give_the_variance(seed):
    solved = chains(seed)
    mean, variance = solved.mean(), solved.var()
    bounds = from_mean(mean, len(solved))
    assert bounds.least_variance - 1e-9 <= variance <= bounds.most_variance + 1e-9
    known = from_rates([(solved >= count).mean() for count in range(1, 6)], len(solved))
    assert known.known and known.mean == pytest.approx(mean)
    assert known.most_variance == pytest.approx(variance)
    low, high = bounds.interval()
    inner_low, inner_high = known.interval()
    assert low <= inner_low + 1e-9 and inner_high <= high + 1e-9


def test_bounds_are_reached():
    assert from_mean(4.0, 10).least_variance == 0
    ends = np.repeat([0, 5], [2, 3])
    assert from_mean(ends.mean(), 5).most_variance == pytest.approx(ends.var())
    near = np.repeat([3, 4], [1, 3])
    assert from_mean(near.mean(), 4).least_variance == pytest.approx(near.var())


@pytest.mark.parametrize("seed", range(20))
def test_the_p_value_is_between_its_bounds(seed):
    first, second = chains(seed), chains(seed + 100)
    deviation = np.sqrt(first.var() / len(first) + second.var() / len(second))
    p = 2 * stats.norm.sf(abs(first.mean() - second.mean()) / deviation)
    found = compare_means(from_mean(first.mean(), len(first)), from_mean(second.mean(), len(second)))
    assert found.p_least - 1e-9 <= p <= found.p_most + 1e-9
    assert found.ci_low < found.difference < found.ci_high


def test_a_reading_error_widens_the_interval():
    rates = [0.9, 0.8, 0.7, 0.6, 0.5]
    exact, read = from_rates(rates, 1000), from_rates(rates, 1000, error=0.002)
    assert read.interval()[0] == pytest.approx(exact.interval()[0] - 0.01)
    same = compare_means(read, from_rates([0.904, 0.8, 0.7, 0.6, 0.5], 1000, error=0.002))
    assert same.p_most == 1.0  # a difference within the errors


@pytest.mark.parametrize(
    "rates", [[0.5, 0.6, 0.1, 0, 0], [1.1, 0.5, 0, 0, 0], [0.5, 0.4], [0.5, 0.4, 0, 0, -1]]
)
def test_impossible_rates(rates):
    with pytest.raises(ValueError):
        from_rates(rates, 10)
