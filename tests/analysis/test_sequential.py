import itertools
import math

import numpy as np
import pytest

from vlm4vla.analysis.paired import sign_flip
from vlm4vla.analysis.sequential import SequentialTest, compare_in_order, share_spent


def outcomes(differences, most):
    """Outcomes of two policies with these differences."""
    own = [max(int(each), 0) for each in differences]
    other = [max(-int(each), 0) for each in differences]
    assert max(own + other) <= most
    return own, other


def compare(differences, n_max=None, most=1, **options):
    return compare_in_order(
        *outcomes(differences, most), n_max=n_max or len(differences), most=most, **options
    )


def fed(own, other, most=1):
    """A test that was fed these outcomes one by one."""
    test = SequentialTest(len(own), most=most)
    for pair in zip(own, other, strict=True):
        test.add(*pair)
    return test


def patterns(sizes):
    """All differences (patterns, n) with these sizes: both signs for each size above 0."""
    return np.array(list(itertools.product(*([-size, size] if size else [0] for size in sizes))))


def by_enumeration(sizes, n_max, alpha):
    """For each sign pattern: states until the decision (0: none) and its p value, by counting patterns."""
    sums = patterns(sizes).cumsum(axis=1)
    count = len(sums)
    decided, p_values = np.zeros(count, int), np.ones(count)
    for state in range(1, len(sizes) + 1):
        allowed = alpha * (1 - math.exp(-2 * state / n_max)) / (1 - math.exp(-2))
        before = (decided > 0).mean()
        going, far = decided == 0, np.abs(sums[:, state - 1])
        for line in range(1, int(sum(sizes)) + 1):
            new = going & (far >= line)
            if before + new.mean() <= allowed:
                for one in np.flatnonzero(new):
                    p_values[one] = before + (going & (far >= far[one])).mean()
                decided[new] = state
                break
    return decided, p_values


CASES = [
    ([1] * 9, 9, 0.05, 1),
    ([1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1], 11, 0.05, 1),
    ([1] * 7, 14, 0.2, 1),
    ([5, 1, 3, 0, 2, 2, 4, 1, 5], 9, 0.05, 5),
    ([1, 1, 1, 5, 5, 5, 1, 1], 8, 0.1, 5),
    ([2, 4, 2, 4, 4, 2, 2], 7, 0.3, 4),
]


@pytest.mark.parametrize(("sizes", "n_max", "alpha", "most"), CASES)
def test_decisions_and_p_values_are_those_of_counting_all_sign_patterns(sizes, n_max, alpha, most):
    decided, p_values = by_enumeration(sizes, n_max, alpha)
    assert 0 < (decided > 0).mean() <= alpha
    for differences, state, p_value in zip(patterns(sizes), decided, p_values, strict=True):
        found = compare(differences, n_max, most, alpha=alpha, hopeless=0)
        if state:
            side = "higher" if differences[:state].sum() > 0 else "lower"
            assert (found.outcome, found.states, found.reason) == (side, state, "decided")
            assert found.p_value == pytest.approx(p_value, rel=1e-12)
            assert found.p_value <= alpha
        else:
            assert found.outcome == "undecided" and found.p_value > alpha


@pytest.mark.parametrize("sizes", [[1] * 7, [1, 0, 1, 1, 0, 1, 1, 1, 1], [5, 2, 3, 1, 5, 4, 2]])
def test_the_smallest_p_value_at_any_time_is_a_p_value(sizes):
    smallest = []
    for differences in patterns(sizes):
        looks = [
            compare(differences[:count], len(sizes), 5, hopeless=0).p_value
            for count in range(1, len(sizes) + 1)
        ]
        smallest.append(min(looks))
    assert min(smallest) < 0.05
    for value in set(smallest):
        assert np.mean(np.array(smallest) <= value + 1e-12) <= value + 1e-12


@pytest.mark.parametrize(("sizes", "n_max", "alpha", "most"), CASES)
def test_what_the_fixed_test_finds_with_the_alpha_that_is_left_is_found_at_the_last_state(
    sizes, n_max, alpha, most
):
    decided, _ = by_enumeration(sizes, n_max, alpha)
    spent = ((decided > 0) & (decided < n_max)).mean()
    for differences, state in zip(patterns(sizes), decided, strict=True):
        if len(sizes) == n_max and sign_flip(differences) <= alpha - spent - 1e-12:
            assert state > 0
            found = compare(differences, n_max, most, alpha=alpha, hopeless=0)
            assert found.outcome != "undecided"


@pytest.mark.parametrize("most", [1, 5])
def test_equal_policies_are_rarely_told_apart_and_stop_early(most):
    random = np.random.default_rng(most)
    wrong = states = 0
    runs = 300
    for _ in range(runs):
        rate = random.uniform(size=100) * random.choice([0.2, 1.0])  # states of different difficulty
        own, other = random.binomial(most, rate, size=(2, 100))
        found = fed(own, other, most)
        wrong += found.outcome != "undecided"
        states += found.states
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert states / runs < 70


def test_a_difference_of_25_points_needs_half_of_the_states():
    random = np.random.default_rng(5)
    used, right = [], []
    for _ in range(150):
        own, other = random.uniform(size=100) < 0.6, random.uniform(size=100) < 0.35
        found = fed(own.astype(int), other.astype(int))
        used.append(found.states)
        right.append(found.outcome == "higher")
        assert found.outcome != "lower"
    assert np.mean(used) < 55 and np.mean(right) > 0.8


def test_hopeless_comparisons_end_without_a_decision():
    random = np.random.default_rng(2)
    stopped = 0
    for _ in range(50):
        differences = random.choice([-1, 0, 1], p=[0.2, 0.5, 0.3], size=80)
        full = compare(differences, hopeless=0)
        short = compare(differences)
        if short.reason == "no decision in reach":
            stopped += 1
            assert short.outcome == "undecided" and short.p_value > 0.05 and short.states < 80
            assert short.stop and full.states > short.states
        else:
            assert short == full
    assert 10 < stopped < 50
    ties = compare([0] * 100)
    assert ties.reason == "no decision in reach" and 10 < ties.states < 80 and ties.p_value == 1
    assert compare([0] * 100, hopeless=0).reason == "all states"


@pytest.mark.parametrize("block", [7, 20, 60])
@pytest.mark.parametrize("seed", range(6))
def test_records_up_to_any_state_give_the_decision_of_an_uninterrupted_run(block, seed):
    random = np.random.default_rng(seed)
    own, other = random.binomial(5, 0.5 + 0.04 * seed, size=60), random.binomial(5, 0.4, size=60)
    test = SequentialTest(60, most=5)
    for one, two in zip(own, other, strict=True):
        test.add(one, two)
    for count in range(block, 61, block):
        found = compare_in_order(own[:count], other[:count], n_max=60, most=5)
        if found.stop:
            break
        assert found.states == count and found.reason == ""
    else:
        found = compare_in_order(own, other, n_max=60, most=5)
    assert found == test.result()
    assert test.stop and found.stop


def test_exchanged_policies_give_the_opposite_decision():
    own = [1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    other = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    found, back = compare_in_order(own, other, 12), compare_in_order(other, own, 12)
    assert (found.outcome, back.outcome) == ("higher", "lower")
    assert (found.p_value, found.states) == (back.p_value, back.states)


def test_parts_of_chains_count():
    """No chain is solved to the end, but one policy always gets two instructions further."""
    own, other = [3, 4, 2, 3, 4, 3, 2, 4, 3, 3], [1, 2, 0, 1, 2, 1, 0, 2, 1, 1]
    found = compare_in_order(own, other, n_max=10, most=5)
    assert found.outcome == "higher" and found.states < 10
    whole = compare_in_order([0] * 10, [0] * 10, n_max=10)  # successes only
    assert whole.outcome == "undecided"


def test_the_unit_of_the_outcomes_has_no_effect():
    random = np.random.default_rng(8)
    own, other = random.binomial(1, [[0.7], [0.4]], size=(2, 50))
    assert compare_in_order(own, other, 50) == compare_in_order(5 * own, 5 * other, 50, most=5)


def test_all_of_alpha_is_spent_at_the_end_and_more_of_it_early():
    assert share_spent(0.0) == 0 and share_spent(1.0) == 1
    shares = share_spent(np.linspace(0, 1, 11))
    assert (np.diff(shares) > 0).all() and (np.diff(shares, n=2) < 0).all()


def test_edges():
    none = compare_in_order([], [], 10)
    assert (none.outcome, none.p_value, none.states, none.stop) == ("undecided", 1.0, 0, False)
    one = compare_in_order([1], [0], 1)
    assert (one.outcome, one.stop, one.reason) == ("undecided", True, "all states")
    assert compare_in_order([1] * 6, [0] * 6, 6).outcome == "higher"  # 2 of 64 patterns
    assert compare_in_order([1] * 5, [0] * 5, 5).outcome == "undecided"  # 2 of 32 patterns
    test = SequentialTest(6)
    for _ in range(10):
        test.add(1, 0)  # beyond the stop
    assert test.result() == compare_in_order([1] * 6, [0] * 6, 6)


@pytest.mark.parametrize(
    ("own", "other", "options", "message"),
    [
        ([2], [0], {}, "an outcome is 2"),
        ([1], [-1], {}, "an outcome is -1"),
        ([0.5], [0], {}, "an outcome is 0.5"),
        ([1, 1], [0], {}, "2 and 1 outcomes"),
        ([1] * 11, [0] * 11, {}, "11 and 11 outcomes"),
        ([1], [0], {"alpha": 0}, "alpha is 0"),
        ([1], [0], {"alpha": 1.0}, "alpha is 1"),
        ([1], [0], {"most": 0}, "most is 0"),
        ([1], [0], {"hopeless": 1}, "hopeless is 1"),
    ],
)
def test_values_out_of_range_are_refused(own, other, options, message):
    with pytest.raises(ValueError, match=message):
        compare_in_order(own, other, n_max=10, **options)


def test_no_state_at_all_is_refused():
    with pytest.raises(ValueError, match="n_max is 0"):
        SequentialTest(0)
