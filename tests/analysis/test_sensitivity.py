import numpy as np
import pytest

from vlm4vla.analysis.correlation import correlate, permutation_p
from vlm4vla.analysis.sensitivity import by_family, leave_one_out, verdict


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
    found = by_family(x, y, families, resamples=400)
    means = [[side[families == name].mean() for name in "abcde"] for side in (x, y)]
    assert found.families == 5
    assert found.pearson == pytest.approx(np.corrcoef(*means)[0, 1])
    assert found.p_value == pytest.approx(permutation_p(*map(np.array, means)))
    random, drawn = np.random.default_rng(20_260_103), []
    for chosen in random.integers(5, size=(400, 5)):
        rows = np.concatenate([np.flatnonzero(families == "abcde"[k]) for k in chosen])
        if len(set(rows)) > 1:
            drawn.append(np.corrcoef(x[rows], y[rows])[0, 1])
    assert found.ci == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-6)
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
    assert verdict_of(cloud, other, names).startswith("no evidence")
    x = np.array([1, 2, 3, 4, 5, 6.0])
    y = np.array([1, 2, 4, 3, 6, 5.0])
    assert verdict_of(x, y, list("abcdef")).startswith("positive, fragile: hinges on ")
    flips = verdict_of(np.array([1, 2, 3, 9.0]), np.array([3, 2, 1, 9.0]), list("abcd"))
    assert flips == "no evidence (sign hinges on d)"
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
