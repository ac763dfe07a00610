import itertools

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.correlation import correlate, permutation_p
from vlm4vla.analysis.groups import groupings
from vlm4vla.analysis.sensitivity import (
    FRAGILE,
    GROUPS,
    NOT_DEFINED,
    POSITIVE,
    UNDECIDED,
    WEAK,
    by_family,
    leave_one_out,
    read,
    verdict,
)


@pytest.mark.parametrize("case", range(20))
def test_leave_one_out_is_the_correlation_of_the_rest(case):
    x, y = np.random.default_rng(case).normal(size=(2, 7))
    names = [f"m{i}" for i in range(7)]
    found = leave_one_out(x, y, names)
    rest = {names[i]: np.corrcoef(np.delete(x, i), np.delete(y, i))[0, 1] for i in range(7)}
    assert (found.low, found.high) == pytest.approx((min(rest.values()), max(rest.values())))
    assert rest[found.low_without] == pytest.approx(found.low)
    assert rest[found.high_without] == pytest.approx(found.high)
    r = np.corrcoef(x, y)[0, 1]
    assert found.flips == tuple(name for name in names if rest[name] * r < 0)


@pytest.mark.parametrize("case", range(20))
def test_families_by_hand(case):
    x, y = np.random.default_rng(case).normal(size=(2, 8))
    families = np.array(["a", "a", "a", "b", "b", "c", "d", "e"])
    found = by_family(x, y, families)
    means = [[side[families == name].mean() for name in "abcde"] for side in (x, y)]
    assert found.families == 5
    assert found.pearson == pytest.approx(np.corrcoef(*means)[0, 1])
    assert found.p_value == pytest.approx(permutation_p(*map(np.array, means)))
    of_scipy = stats.pearsonr(*means).confidence_interval()
    assert found.ci == pytest.approx((of_scipy.low, of_scipy.high))
    without_a = np.corrcoef(x[families != "a"], y[families != "a"])[0, 1]
    assert found.without.low - 1e-9 <= without_a <= found.without.high + 1e-9


def test_few_families_have_no_interval():
    found = by_family(np.arange(5.0), np.arange(5.0), ["a", "a", "b", "b", "b"])
    assert (found.families, found.pearson, found.ci) == (2, None, (None, None))
    assert by_family(np.arange(4.0), np.arange(4.0), ["a"] * 4).without is None


def verdict_of(x, y, names=None, families=None):
    found = correlate(x, y)
    points = leave_one_out(x, y, names or [f"m{i}" for i in range(len(x))])
    grouped = by_family(x, y, families) if families else None
    return verdict(found and found.pearson, found and found.pearson_p, points, grouped)


def test_verdicts():
    line = np.arange(9.0)
    assert verdict_of(line, line) == "positive"
    assert verdict_of(line, -line) == "negative"
    names = [*"abcdefgh", "kosmos-2"]
    cloud = np.array([0, 1, 2, 3, 0, 1, 2, 3, 30.0])
    other = np.array([1, 3, 0, 2, 2, 0, 3, 1, 30.0])
    assert permutation_p(cloud, other) > 0.05  # a single outlier is not significant in a permutation test
    assert verdict_of(cloud, other, names).startswith("cannot be told")
    x = np.array([1, 2, 3, 4, 5, 6.0])
    y = np.array([1, 2, 4, 3, 6, 5.0])
    assert verdict_of(x, y, list("abcdef")).startswith("positive, fragile: hinges on ")
    flips = verdict_of(np.array([1, 2, 3, 9.0]), np.array([3, 2, 1, 9.0]), list("abcd"))
    assert flips == "cannot be told (sign hinges on d)"
    assert verdict_of(np.ones(5), line[:5]) == "not defined"
    assert verdict(None, None) == "not defined"


def test_a_verdict_can_hinge_on_a_family():
    x = np.array([0, 1, 2, 3, 10, 11, 12, 13.0])
    y = np.array([1, 3, 0, 2, 11, 13, 10, 12.0])
    assert (
        verdict_of(x, y, families=["old"] * 4 + ["new"] * 4)
        == "positive, fragile: hinges on the family old or new"
    )


def test_too_few_points():
    assert leave_one_out(np.arange(2.0), np.arange(2.0), "ab") is None
    assert leave_one_out(np.arange(3.0), np.arange(3.0), "abc") is None  # two points have no r


def test_a_missing_correlation_needs_its_whole_interval_within_the_margin():
    near = {"interval": (-0.3, 0.4), "count": 30}
    assert read(0.05, 0.8, **near).outcome == WEAK
    assert read(0.05, 0.8, **near, margin=0.35).outcome == UNDECIDED
    assert read(0.4, 0.01, interval=(0.1, 0.45)).words == "positive, but weak"
    far = read(0.05, 0.8, interval=(-0.6, 0.65), count=10)
    assert (far.outcome, far.words) == (UNDECIDED, "cannot be told with 10 backbones")


def test_three_backbones_never_show_anything():
    for y in itertools.permutations([0.0, 1.0, 5.0]):
        found = correlate(np.array([1.0, 2.0, 3.0]), np.array(y))
        said = read(
            found.pearson, found.pearson_p, interval=(found.ci_low, found.ci_high), count=3, margin=0.99
        )
        assert said.words == "cannot be told with 3 backbones"
    assert read(None, None).outcome == NOT_DEFINED


def test_groups_come_before_the_points_they_consist_of():
    x = np.array([26, 28, 30, 52, 54, 55, 57, 58, 60, 62.0])
    y = np.array([10, 7, 12, 60, 55, 63, 58, 66, 54, 61.0])
    found = correlate(x, y)
    points = leave_one_out(x, y, list("abcdefghij"))
    assert not points.loses  # leaving one out cannot notice two groups
    assert read(found.pearson, found.pearson_p, points).outcome == POSITIVE
    said = read(found.pearson, found.pearson_p, points, groups=groupings(x, y))
    assert said.outcome == GROUPS
    assert said.words == "a difference of groups (2 by question score and policy score)"
    line = groupings(x, x)
    assert read(1.0, 1e-6, groups=line).outcome == POSITIVE
    fragile = leave_one_out(x[:4], np.array([2, 1, 3, 4.0]), list("abcd"))
    assert read(0.9, 0.01, fragile, groups=line).outcome == FRAGILE
