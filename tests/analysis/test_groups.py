import itertools

import numpy as np
import pytest

from vlm4vla.analysis.groups import carrying, groupings, within_groups

HALVES = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def test_r_within_groups_is_that_of_the_residuals_of_a_regression_on_the_groups():
    x, y = np.random.default_rng(1).normal(size=(2, 8))
    dummies = np.stack([HALVES == 0, HALVES == 1], axis=1).astype(float)
    rest = [side - dummies @ np.linalg.lstsq(dummies, side, rcond=None)[0] for side in (x, y)]
    assert within_groups(x, y, HALVES)[0] == pytest.approx(np.corrcoef(*rest)[0, 1])


@pytest.mark.parametrize("case", range(10))
def test_the_p_value_counts_the_orders_within_groups(case):
    x, y = np.random.default_rng(case).normal(size=(2, 7))
    member = np.array([0, 1, 0, 1, 1, 2, 1])
    r, p = within_groups(x, y, member)
    sign = np.sign(np.corrcoef(x, y)[0, 1])
    extreme, every = 0, 0
    for order in itertools.permutations(range(7)):
        if (member[list(order)] == member).all():
            every += 1
            extreme += sign * within_groups(x, y[list(order)], member)[0] >= sign * r - 1e-9
    assert every == 2 * 24  # of two and of four points
    assert p == pytest.approx(extreme / every)


def test_more_than_ten_points_are_sampled():
    random = np.random.default_rng(3)
    member = np.repeat([0, 1], 6)
    x = random.normal(size=12)
    assert within_groups(x, x + 0.1 * random.normal(size=12), member)[1] < 0.001
    assert within_groups(x, np.where(member, 1.0, 0.0), member) == (None, 1.0)


def test_two_clusters_without_a_relation_inside_carry_r():
    x = np.array([26, 28, 30, 52, 54, 55, 57, 58, 60, 62.0])
    y = np.array([10, 7, 12, 60, 55, 63, 58, 66, 54, 61.0])
    for a, b in ((x, y), (x, -y), (-x, y), (100 * x + 3, y / 50)):
        (found,) = groupings(a, b)
        assert found.carries and sorted(found.sizes) == [3, 7]
        assert found.by == "question score and policy score"
        assert abs(found.within) < 0.3 and found.p_value > 0.2
    assert carrying([found]) is found and carrying([]) is None


def test_two_clusters_on_one_line_do_not_carry_r():
    x = np.array([26, 28, 30, 52, 54, 55, 57, 58, 60, 62.0])
    (found,) = groupings(x, 2 * x + 1)
    assert not found.carries and found.within == pytest.approx(1.0)


def test_three_clusters():
    x = np.array([10, 11, 12, 40, 41, 42, 70, 71, 72, 73.0])
    y = np.array([3, 1, 2, 32, 33, 31, 61, 63, 60, 62.0])
    found = carrying(groupings(x, y))
    assert found.sizes == (3, 3, 4) and found.groups == 3


@pytest.mark.parametrize("count", range(4, 13))
def test_evenly_spaced_points_are_no_groups(count):
    x = np.arange(count, dtype=float)
    assert groupings(x, x) == groupings(x, -3 * x) == []


def test_a_step_in_the_policy_score_is_a_difference_of_groups():
    x = np.arange(10.0)
    y = np.array([0, 1, 0, 1, 30, 31, 30, 31, 30, 31.0])
    found = carrying(groupings(x, y))
    assert found.by == "policy score" and found.sizes == (4, 6)


def test_given_families():
    random = np.random.default_rng(5)
    families = ["a"] * 5 + ["b"] * 5
    x = np.array([1, 2, 3, 4, 5, 4, 5, 6, 7, 8.0])  # the families overlap, so no gap separates them
    y = np.array([3, 1, 2, 1, 3, 6, 8, 7, 6, 8.0])
    found = groupings(x, y, given=families)
    assert carrying(found).by == "policy score and lineage"
    assert carrying(groupings(x, x + 0.1 * random.normal(size=10), given=families)) is None
    # Three or more families that are mixed over a line do not carry it, whatever r within them is.
    mixed = ["a", "b", "c", "a", "b", "c", "a", "b", "c", "d"]
    line = np.arange(10.0)
    assert carrying(groupings(line, line + random.normal(scale=0.5, size=10), given=mixed)) is None
    assert groupings(x, y, given=[str(i) for i in range(10)])[-1].by == "policy score"  # all alone
