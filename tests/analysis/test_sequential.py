import itertools

import numpy as np
import pytest

from vlm4vla.analysis.sequential import capital, sequential_test


@pytest.mark.parametrize("case", range(20))
def test_capital_is_the_mean_over_all_bets(case):
    random = np.random.default_rng(case)
    differences, bound = random.integers(-5, 6, size=30), 5
    stakes = [k * 0.05 for k in range(1, 20)]
    bets = [sign * stake for sign in (1, -1) for stake in stakes]
    expected = [
        np.mean([np.prod(1 + bet * differences[:stop] / bound) for bet in bets]) for stop in range(1, 31)
    ]
    assert capital(differences, bound) == pytest.approx(expected)


def test_fair_differences_are_a_martingale_and_rarely_stop():
    """Over all 3^9 sequences of -1, 0, 1, the mean capital is exactly 1, and Ville's bound holds."""
    orders = np.array(list(itertools.product([-1, 0, 1], repeat=9)))
    grown = np.array([capital(order, 1) for order in orders])
    assert grown.mean(axis=0) == pytest.approx(np.ones(9))
    for level in (0.5, 0.2, 0.05):
        assert (grown.max(axis=1) >= 1 / level).mean() <= level


def test_checking_after_each_of_500_states_keeps_the_level():
    random = np.random.default_rng(0)
    stopped = [
        sequential_test(random.choice([-1, 0, 0, 1], size=500)).stopped_at is not None for _ in range(1000)
    ]
    assert np.mean(stopped) <= 0.05


def test_a_clear_difference_stops_early_with_its_sign():
    random = np.random.default_rng(1)
    better = random.choice([-1, 0, 1], p=[0.1, 0.4, 0.5], size=400)
    found = sequential_test(better)
    assert 5 < found.stopped_at < 200 and found.sign == 1
    assert found.capital >= 20 and found.p_value <= 0.05
    assert sequential_test(-better).sign == -1
    assert sequential_test(-better).stopped_at == found.stopped_at
    again = sequential_test(better[: found.stopped_at])  # states after the stop have no effect
    assert again == found


def test_edges():
    assert sequential_test(np.array([])).stopped_at is None
    ties = sequential_test(np.zeros(50))
    assert (ties.stopped_at, ties.sign, ties.capital, ties.p_value) == (None, 0, pytest.approx(1.0), 1.0)
    assert sequential_test(np.array([1])).p_value <= 1
    with pytest.raises(ValueError, match="outside"):
        sequential_test(np.array([2]))
    with pytest.raises(ValueError, match="level"):
        sequential_test(np.array([1]), level=0)
