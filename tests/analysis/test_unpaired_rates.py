"""Unpaired success rates, compared with SciPy and with a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, boschloo_exact, fisher_exact
from statsmodels.stats.proportion import confint_proportions_2indep

from vlm4vla.analysis.unpaired import boschloo, compare_rates, newcombe

EDGES = [(0, 1, 0, 1), (1, 1, 0, 1), (0, 24, 24, 24), (0, 96, 0, 96), (96, 96, 96, 96), (5, 10, 3, 6)]


def cases() -> list[tuple[int, int, int, int]]:
    random = np.random.default_rng(4)
    drawn = []
    for _ in range(22):
        first, second = map(int, random.integers(1, 40, 2))
        drawn.append((int(random.integers(first + 1)), first, int(random.integers(second + 1)), second))
    return drawn


@pytest.mark.parametrize(("one", "first", "other", "second"), [*EDGES, *cases()])
def test_boschloo_agrees_with_scipy(one, first, other, second):
    theirs = boschloo_exact([[one, other], [first - one, second - other]], n=128).pvalue
    assert boschloo(one, first, other, second) == pytest.approx(min(1, theirs), rel=1e-4, abs=1e-12)


def test_boschloo_is_no_more_than_twice_fishers_one_sided_p():
    for one, first, other, second in cases():
        table = [[one, other], [first - one, second - other]]
        fisher = min(fisher_exact(table, alternative=side).pvalue for side in ("less", "greater"))
        assert boschloo(one, first, other, second) <= min(1, 2 * fisher) + 1e-9


def test_boschloo_keeps_its_level():
    # Over all outcomes of 12 and 15 trials with the same rate, P(p < 0.05) is below 0.05.
    for rate in (0.1, 0.5, 0.83):
        chance = sum(
            binom.pmf(one, 12, rate) * binom.pmf(other, 15, rate)
            for one in range(13)
            for other in range(16)
            if boschloo(one, 12, other, 15) < 0.05
        )
        assert chance < 0.05


def test_newcombe_published_example():
    # Newcombe (1998), table II: 56/70 - 48/80, method 10: 0.0524 to 0.3339
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    # and 9/10 - 3/10: 0.1705 to 0.8090; 10/10 - 0/10: 0.6075 to 1
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert newcombe(10, 10, 0, 10) == pytest.approx((0.6075, 1.0), abs=5e-5)


@pytest.mark.parametrize(("one", "first", "other", "second"), [*EDGES[2:], *cases()])
def test_newcombe_is_statsmodels(one, first, other, second):
    expected = confint_proportions_2indep(one, first, other, second, method="newcomb")
    assert newcombe(one, first, other, second) == pytest.approx(expected, abs=1e-9)


def test_a_count_that_is_not_whole_is_tested_with_its_neighbours():
    found = compare_rates((26.5, 54.0), (96, 96))
    both = [boschloo(26, 96, 54, 96), boschloo(27, 96, 54, 96)]
    assert (found.p_value, found.p_least) == (max(both), min(both))
    assert found.difference == pytest.approx((26.5 - 54) / 96)
    whole = compare_rates((27.0, 54.0), (96, 96))
    assert whole.p_value == whole.p_least == both[1]


@pytest.mark.parametrize("counts", [(0, 0, 1, 1), (-1, 2, 0, 2), (3, 2, 0, 2)])
def test_impossible_counts(counts):
    with pytest.raises(ValueError):
        boschloo(*counts)
