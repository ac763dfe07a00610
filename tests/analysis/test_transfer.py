"""Rankings that carry over, with ceilings and coefficients that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.correlation_intervals import spearman_interval
from vlm4vla.analysis.sensitivity import LeaveOneOut, by_family, leave_one_out
from vlm4vla.analysis.transfer import (
    CARRIES,
    HALVES,
    NOT_CARRIED,
    SEEDS,
    UNTOLD,
    Reliability,
    ceiling,
    read_transfer,
    reliability,
    rho,
    spearman_brown,
    testable,
)

testable.__test__ = False  # pytest takes it for a test

ORDERS = {
    "equal": [0, 1, 2, 3, 4],
    "reversed": [4, 3, 2, 1, 0],
    "one swap": [1, 0, 2, 3, 4],
    "independent": [0, 4, 3, 2, 1],  # the squared differences have the sum 5 (5² - 1) / 6
}
CLOSED = {"equal": 1.0, "reversed": -1.0, "one swap": 1 - 6 * 2 / (5 * 24), "independent": 0.0}


def of_states(rates, count, random):
    """(policies, 1, states): whether each policy solves each state."""
    return (random.random((len(rates), 1, count)) < np.asarray(rates)[:, None, None]).astype(float)


def of_all_orders(x, y):
    """SciPy's p value over all orders: how many have a |rho| as large as this one."""

    def size(each):
        return abs(stats.spearmanr(each, y).statistic)

    kind = {"permutation_type": "pairings", "alternative": "greater", "n_resamples": np.inf}
    return stats.permutation_test((x,), size, **kind).pvalue


@pytest.mark.parametrize("order", ORDERS)
def test_rho_has_its_closed_form_and_the_p_value_of_all_orders(order):
    x, y = np.arange(5.0), np.array(ORDERS[order], dtype=float)
    found = correlate(x, y)
    assert rho(x, y) == pytest.approx(CLOSED[order], abs=1e-12)
    assert found.spearman == pytest.approx(CLOSED[order], abs=1e-12)
    assert found.spearman_p == pytest.approx(of_all_orders(x, y), abs=1e-9)
    assert found.p_method == "exact permutation"


def test_ties_share_their_rank():
    x, y = np.array([0.2, 0.2, 0.5, 0.7, 0.7, 0.9]), np.array([1.0, 2.0, 2.0, 3.0, 5.0, 4.0])
    found = correlate(x, y)
    assert rho(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.spearman_p == pytest.approx(of_all_orders(x, y), abs=1e-9)


def test_rho_needs_three_points_that_vary():
    assert rho(np.arange(2.0), np.arange(2.0)) is None
    assert rho(np.zeros(5), np.arange(5.0)) is None


@pytest.mark.parametrize(
    ("orders", "single", "value"),
    [
        (["equal"] * 3, 1.0, 1.0),
        (["equal", "reversed"], -1.0, 0.0),
        (["equal", "one swap"], CLOSED["one swap"], 2 * CLOSED["one swap"] / (1 + CLOSED["one swap"])),
        (["equal", "independent"], 0.0, 0.0),
        (["equal", "equal", "reversed"], (1 - 1 - 1) / 3, 0.0),
    ],
)
def test_seeds_repeat_a_ranking_as_often_as_their_rho_says(orders, single, value):
    """The score of a seed is its place, in each of two states."""
    by_seed = np.array([ORDERS[order] for order in orders], dtype=float).T
    found = reliability(np.repeat(by_seed[:, :, None], 2, axis=2), np.zeros(2, dtype=int))
    assert found.by == SEEDS
    assert found.single == pytest.approx(single) and found.value == pytest.approx(value)


def test_one_seed_is_halved_and_scores_without_noise_repeat():
    values = np.repeat(np.arange(6.0)[:, None, None], 11, axis=2)
    found = reliability(values, np.arange(11) % 4)
    assert found.by == HALVES and (found.value, found.single) == pytest.approx((1.0, 1.0))
    assert reliability(values[:, :, :1], np.zeros(1, dtype=int)) is None
    assert reliability(np.zeros((6, 1, 11)), np.arange(11) % 4) is None


def test_a_policy_with_one_seed_leaves_the_halves():
    values = np.repeat(np.arange(6.0)[:, None, None], 8, axis=2).repeat(3, axis=1)
    assert reliability(values, np.arange(8) % 2).by == SEEDS
    values[2, 1:] = np.nan
    found = reliability(values, np.arange(8) % 2)
    assert found.by == HALVES and (found.value, found.single) == pytest.approx((1.0, 1.0))


def test_each_half_has_half_of_each_task():
    """Where tasks decide the score alone, halves that mix the tasks unevenly would differ."""
    task = np.repeat(np.arange(3), 8)
    solved = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=float)
    found = reliability(solved[:, None, task], task)
    assert found.single == pytest.approx(1.0)


def test_luck_alone_does_not_repeat():
    random = np.random.default_rng(0)
    found = [
        reliability(of_states([0.5] * 10, 40, random), np.zeros(40, dtype=int)).single for _ in range(40)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(len(found)) + 0.02


def test_spearman_brown():
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(0.5, 3) == pytest.approx(3 / 4)
    assert spearman_brown(-0.4, 2) == 0.0 and spearman_brown(1.0, 5) == 1.0


def test_the_ceiling_is_what_equal_rankings_reach_on_average():
    """Two benchmarks with the same true scores, 24 and 60 states: rho stays below 1 by noise alone."""
    random, rates = np.random.default_rng(1), np.linspace(0.3, 0.7, 10)
    reached, limits = [], []
    for _ in range(60):
        sides = [of_states(rates, count, random) for count in (24, 60)]
        reached.append(rho(*(side.mean(axis=(1, 2)) for side in sides)))
        limits.append(ceiling(*(reliability(side, np.zeros(side.shape[2], dtype=int)) for side in sides)))
    assert np.mean(reached) < 0.9
    assert np.mean(limits) == pytest.approx(np.mean(reached), abs=0.06)
    assert ceiling(None, Reliability(1.0, 1.0, SEEDS)) is None


def told(value, interval, p=0.001, limit=1.0, **more):
    return read_transfer(value, p, interval=interval, limit=limit, count=10, **more)


def test_the_margin_decides():
    assert told(0.9, (0.5, 0.99)).outcome == CARRIES
    below = told(0.9, (0.499, 0.99))
    assert below.outcome == UNTOLD
    assert below.words == "cannot be told with 10 backbones (positive, but less than 0.5 is possible)"
    assert told(0.9, (0.5, 0.99), margin=0.6).outcome == UNTOLD
    assert told(0.9, (0.3, 0.99), margin=0.3).outcome == CARRIES
    assert told(0.9, (0.6, 0.99), p=0.051).outcome == UNTOLD


def test_an_absence_needs_the_interval_within_the_margin():
    assert told(0.0, (-0.49, 0.49), p=0.9).words == NOT_CARRIED
    assert told(0.0, (-0.51, 0.49), p=0.9).outcome == UNTOLD
    assert told(0.0, (-0.49, 0.51), p=0.9).outcome == UNTOLD
    excluded = told(-0.4, (-0.8, 0.2), p=0.3)
    assert excluded.words == "cannot be told with 10 backbones, but 0.5 or more is excluded"


def test_noise_is_no_absence():
    """With a ceiling of 0.6, an interval up to 0.4 allows a rho of 0.67 without noise."""
    hidden = told(0.0, (-0.4, 0.4), p=0.9, limit=0.6)
    assert hidden.words == "cannot be told with 10 backbones (noise alone limits rho to 0.60)"
    assert told(0.0, (-0.29, 0.29), p=0.9, limit=0.6).outcome == NOT_CARRIED
    assert told(0.0, (-0.4, 0.4), p=0.9, limit=None).words.endswith("(noise may hide it)")
    assert told(0.0, (-0.4, 0.4), p=0.9, limit=0.0).outcome == UNTOLD
    too_little = "cannot be told, because one of the two rankings repeats too little"
    assert told(-0.4, (-0.8, 0.2), p=0.3, limit=0.3).words == too_little
    assert told(-0.4, (-0.8, 0.4), p=0.3, limit=0.6).words == "cannot be told with 10 backbones"


def test_a_reversed_ranking_does_not_carry_over():
    assert told(-0.9, (-0.99, -0.5)).words == "does not carry over, but is reversed"
    assert told(-0.9, (-0.99, -0.5), p=0.2).outcome == UNTOLD


def test_a_backbone_or_a_family_that_carries_rho_leaves_it_open():
    one = LeaveOneOut(0.1, 0.9, "a", "b", flips=(), loses=("a",))
    assert told(0.9, (0.6, 0.99), points=one).words.endswith("positive, fragile: hinges on a")


def test_without_rho_nothing_can_be_told():
    assert told(None, (None, None), p=None).words == "cannot be told with 10 backbones"
    assert told(1.0, (None, None), p=0.3).outcome == UNTOLD


def test_families_count_only_where_the_rest_can_be_tested():
    """Of ten backbones with equal rankings, six are of one lineage: the other four are never significant."""
    x = np.arange(10.0)
    lineages = ["Qwen"] * 6 + ["PaliGemma"] * 2 + ["Kosmos", "InternVL"]
    found = by_family(x, x, lineages, ranks=True)
    assert found.without.loses == ("Qwen",)
    assert testable(found, lineages).without.loses == ()
    five = ["Qwen"] * 5 + ["PaliGemma"] * 3 + ["Kosmos", "InternVL"]
    y = np.array([0, 1, 2, 3, 4, 9, 7, 8, 6, 5], dtype=float)
    assert "Qwen" in testable(by_family(x, y, five, ranks=True), five).without.loses
    assert testable(by_family(x, x, ["one"] * 10, ranks=True), ["one"] * 10).without is None


def test_leaving_out_ranks_the_others_again():
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 100.0]), np.array([2.0, 1.0, 3.0, 4.0, 50.0])
    found = leave_one_out(x, y, list("abcde"), ranks=True)
    expected = {
        name: stats.spearmanr(np.delete(x, place), np.delete(y, place)).statistic
        for place, name in enumerate("abcde")
    }
    assert found.low == pytest.approx(min(expected.values()))
    assert found.high == pytest.approx(max(expected.values()))


def scores(correlation, count, random):
    """True scores of `count` backbones on two benchmarks, normal with this correlation."""
    x, e = random.standard_normal((2, count))
    return x, correlation * x + math.sqrt(1 - correlation**2) * e


def verdict(x, y, limit=1.0):
    found, names = correlate(x, y), [str(place) for place in range(len(x))]
    points = leave_one_out(x, y, names, ranks=True)
    more = {"interval": found.spearman_ci, "limit": limit, "count": len(x)}
    return read_transfer(found.spearman, found.spearman_p, points, **more).outcome


def test_false_verdicts_are_rare():
    """Seven backbones and a true rho of the margin: the hardest case, in which both verdicts are wrong."""
    random = np.random.default_rng(2)
    outcomes = [verdict(*scores(0.52, 7, random)) for _ in range(200)]  # of normal scores: rho = 0.5
    assert outcomes.count(CARRIES) <= 10 and outcomes.count(NOT_CARRIED) <= 10  # expected: 2.5 % at most


def test_a_strong_relation_is_found():
    random = np.random.default_rng(3)
    outcomes = [verdict(*scores(0.99, 9, random)) for _ in range(20)]
    assert outcomes.count(CARRIES) > 12 and outcomes.count(NOT_CARRIED) == 0


def test_noise_alone_is_rarely_called_an_absence():
    """Forty backbones that rank equally, with so few states that rho is about 0.2."""
    random, outcomes, weak = np.random.default_rng(4), [], 0
    task = np.zeros(8, dtype=int)
    for _ in range(60):
        rates = np.clip(0.5 + 0.1 * random.standard_normal(40), 0.05, 0.95)
        sides = [of_states(rates, 8, random) for _ in range(2)]
        value = rho(*(side.mean(axis=(1, 2)) for side in sides))
        interval = spearman_interval(value, 40)
        weak += max(map(abs, interval)) < 0.5
        limit = ceiling(*(reliability(side, task) for side in sides))
        outcomes.append(read_transfer(value, 1.0, interval=interval, limit=limit, count=40).outcome)
    assert weak > 10  # without the ceiling, these would be absences
    assert outcomes.count(NOT_CARRIED) <= 3
