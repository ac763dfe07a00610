import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from vlm4vla.analysis.paired import mcnemar
from vlm4vla.analysis.power import (
    connor_sample_size,
    episodes_needed,
    least_states,
    mcnemar_power,
    mean_power,
    needed_states,
)


def every_outcome(win, loss, states):
    """Power summed over all numbers of wins and losses."""
    return sum(
        stats.multinomial.pmf([w, k, states - w - k], states, [win, loss, 1 - win - loss])
        for w in range(states + 1)
        for k in range(states + 1 - w)
        if mcnemar(w, k) <= 0.05
    )


@pytest.mark.parametrize("case", range(20))
def test_power_counts_every_outcome(case):
    random = np.random.default_rng(case)
    win, loss, _ = random.dirichlet([1, 1, 1])
    states = int(random.integers(1, 25))
    assert mcnemar_power(win, loss, states) == pytest.approx(every_outcome(win, loss, states), abs=1e-9)


@pytest.mark.parametrize("case", range(20))
def test_power_of_means_is_statsmodels(case):
    random = np.random.default_rng(case)
    states = int(random.integers(2, 300))
    effect = random.uniform(0.3, 4) / np.sqrt(states)  # statsmodels returns NaN if the power is nearly 1
    assert mean_power(effect, states) == pytest.approx(TTestPower().power(effect, states, 0.05), abs=1e-6)


@pytest.mark.parametrize(("effect", "states"), [(1.2, 250), (2.0, 100), (1.5, 900)])
def test_power_of_a_huge_effect_is_one(effect, states):
    assert mean_power(effect, states) == pytest.approx(1.0)


@pytest.mark.parametrize("case", range(20))
def test_needed_pairs_reach_the_power_and_are_near_connors_number(case):
    random = np.random.default_rng(case)
    wins, losses = (int(k) for k in random.integers(1, 40, size=2))
    losses += wins == losses
    needed, guess = (
        needed_states(100, wins, losses, 0.0, binary=True),
        connor_sample_size(wins / 100, losses / 100),
    )
    if guess <= 10_000:
        assert mcnemar_power(wins / 100, losses / 100, needed) >= 0.8
        assert mcnemar_power(wins / 100, losses / 100, needed - 1) < 0.8 or needed == 1
    assert guess - 1 <= needed <= 1.25 * guess + 15


@pytest.mark.parametrize("case", range(20))
def test_needed_chains_are_statsmodels(case):
    random = np.random.default_rng(case)
    differences = random.integers(-4, 6, size=100)
    effect = abs(differences.mean() / differences.std(ddof=1))
    needed = needed_states(100, 0, 0, effect, binary=False)
    if effect == 0:
        assert needed is None
    else:
        expected = TTestPower().solve_power(effect_size=effect, power=0.8, alpha=0.05)
        assert needed == pytest.approx(max(6, math.ceil(expected)), abs=3)
        assert episodes_needed(differences, binary=False) == max(101, needed)


def test_edges():
    assert episodes_needed(np.array([1, -1, 0]), binary=True) is None  # equal policies
    assert episodes_needed(np.zeros(96), binary=False) is None
    assert episodes_needed(np.ones(4), binary=True) == 6  # 2 / 2^6 is below 5 %
    assert episodes_needed(np.full(4, 3), binary=False) == 6
    assert episodes_needed(np.full(9, 3), binary=False) == 10  # nine states left the pair undecided
    assert episodes_needed(np.array([1]), binary=True) == 6
    assert episodes_needed(np.repeat([1, -1], [50_001, 50_000]), binary=True) is None  # more than a million
    assert (mcnemar_power(0, 0, 50), mcnemar_power(0.5, 0.1, 0), mean_power(1.0, 1)) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no differences"):
        episodes_needed(np.array([]), binary=True)
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        episodes_needed(np.array([2, 0]), binary=True)
    with pytest.raises(ValueError, match="shares"):
        mcnemar_power(0.8, 0.4, 10)


@pytest.mark.parametrize("level", [0.05, 0.05 / 45, 2 / 2**7])
def test_below_the_least_number_of_states_no_pattern_is_significant(level):
    least = least_states(level)
    assert mcnemar(least, 0) <= level < mcnemar(least - 1, 0)


@pytest.mark.parametrize("differences", [[5, 5, 5, 5, 4], [2, 3, 3], [-4, -5, -5, -4]])
def test_few_large_differences_need_the_least_number_of_states(differences):
    assert episodes_needed(np.array(differences), binary=False) == 6
    assert episodes_needed(np.array(differences), binary=False, level=0.001) == 11
