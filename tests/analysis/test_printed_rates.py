"""Tests of printed rates: possible counts, p between bounds, and the trials that a difference needs."""

from __future__ import annotations

import itertools
import math

import pytest
from scipy import stats

from vlm4vla.analysis.printed_rates import PrintedRate, compare_printed, exact, rate_trials_needed
from vlm4vla.analysis.published_numbers import possible_totals


def boschloo(one, first, other, second):
    """SciPy's test: twice the smaller one-sided p value."""
    return min(1, stats.boschloo_exact([[one, other], [first - one, second - other]], n=64).pvalue)


def test_whole_counts_give_scipys_p():
    found = compare_printed(PrintedRate(0.45, 40, counts=[18]), PrintedRate(0.7, 40, counts=[28]))
    assert found.p_value == found.p_least == pytest.approx(boschloo(18, 40, 28, 40), rel=1e-3)
    assert (found.test, found.difference) == ("Boschloo", pytest.approx(-0.25))


def test_every_count_that_rounds_to_the_rate_is_tried():
    """50 % without decimals of 240 trials is 119 to 121 of them; 59 % is 141 or 142."""
    first, second = possible_totals("50", 240, 1, 100), possible_totals("59", 240, 1, 100)
    assert first == [119, 120, 121] and second == [141, 142]
    found = compare_printed(PrintedRate(0.5, 240, counts=first), PrintedRate(0.59, 240, counts=second))
    p = [boschloo(one, 240, other, 240) for one, other in itertools.product(first, second)]
    assert (found.p_value, found.p_least) == pytest.approx((max(p), min(p)), rel=1e-3)
    assert max(p) > 0.05 > min(p)


def test_an_impossible_rate_is_tested_with_its_neighbours():
    found = compare_printed(PrintedRate(0.276, 96), PrintedRate(0.5, 96, counts=[48]))
    assert found.p_value == pytest.approx(boschloo(27, 96, 48, 96), rel=1e-3)
    assert found.p_least == pytest.approx(boschloo(26, 96, 48, 96), rel=1e-3)


def test_seeds_may_share_their_states():
    """The largest p has the trials of one seed, the smallest those of all."""
    found = compare_printed(
        PrintedRate(0.5, 100, 3, possible_totals("50.0", 300, 1, 100)),
        PrintedRate(0.6, 100, 3, possible_totals("60.0", 300, 1, 100)),
    )
    assert found.p_value == pytest.approx(boschloo(50, 100, 60, 100), rel=1e-3)
    assert found.p_least == pytest.approx(boschloo(150, 300, 180, 300), rel=1e-3)
    assert found.ci_low < 0 - 0.2 and found.ci_high > 0


def test_many_trials_use_fishers_test():
    found = compare_printed(PrintedRate(0.5, 2000, counts=[1000]), PrintedRate(0.46, 2000, counts=[920]))
    theirs = stats.fisher_exact([[1000, 1000], [920, 1080]]).pvalue
    assert (found.test, found.p_value) == ("Fisher", pytest.approx(theirs))
    assert exact(1000, 2000, 920, 2000) == found.p_value


def test_total_success_against_total_failure_in_closed_form():
    """n of n against 0 of n: p = 2 max (r (1 - r))^n = 2 / 4^n, so n = log4(2 / level), rounded up."""
    for level in (0.05, 0.01, 0.001):
        assert rate_trials_needed(1.0, 0.0, level) == math.ceil(math.log(2 / level, 4))


def test_needed_trials_are_those_of_the_pooled_normal_test():
    """Just significant at n trials and not at half as many, by the chi-squared test without correction."""
    for first, second in ((0.5, 0.55), (0.9, 0.95), (0.02, 0.05)):
        n = rate_trials_needed(first, second, 0.01)
        for trials, significant in ((n, True), (n - 2, False)):
            a, b = first * trials, second * trials
            theirs = stats.chi2_contingency([[a, trials - a], [b, trials - b]], correction=False).pvalue
            assert (theirs <= 0.01) == significant


def test_few_needed_trials_agree_with_scipy():
    n = rate_trials_needed(0.25, 0.75, 0.05)
    whole = [trials for trials in range(4, 2 * n, 4)]
    first = next(t for t in whole if boschloo(t // 4, t, 3 * t // 4, t) < 0.05)
    assert first <= n <= first + 12


def test_equal_rates_need_no_number():
    assert rate_trials_needed(0.5, 0.5, 0.05) is None
    assert rate_trials_needed(0.5, 0.500001, 0.05) is None


@pytest.mark.parametrize(
    ("printed", "trials", "most", "scale", "totals"),
    [
        ("0.9", 10, 1, 1, [9]),
        ("0.9", 20, 1, 1, [17, 18, 19]),  # 0.85 and 0.95 may round to 0.9
        ("2.500", 1000, 5, 1, [2500]),
        ("2.5005", 1000, 5, 1, []),
        ("5", 3, 5, 1, [14, 15]),
        ("66.6", 500, 1, 100, [333]),
        ("97.3", 500, 1, 100, []),
    ],
)
def test_possible_totals(printed, trials, most, scale, totals):
    brute = [k for k in range(most * trials + 1) if _rounds(scale * k, trials, printed)]
    assert possible_totals(printed, trials, most, scale) == brute
    assert [k for k in totals if k not in brute] == []
    assert bool(totals) == bool(brute)


def _rounds(total: int, trials: int, printed: str) -> bool:
    decimals = len(printed.partition(".")[2])
    unit = 10**decimals
    return 2 * abs(total * unit - round(float(printed) * unit) * trials) <= trials
