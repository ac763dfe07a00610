"""The interval of one policy's share of another one's score."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vlm4vla.analysis.shares import share


def cell(outcomes, seed=0, benchmark="bridge", first=0):
    solved = np.array(outcomes).astype(int)
    frame = pd.DataFrame({"episode": np.arange(len(solved)) + first, "solved": solved})
    whole = 5 if benchmark == "calvin" else 1
    return frame.assign(benchmark=benchmark, seed=seed, success=solved == whole, task="t")


def fieller(one, two):
    """The closed form of Fieller (1954) for normal means."""
    count, z = len(one), stats.norm.ppf(0.975)
    covariance = np.cov(one, two) / count
    a = two.mean() ** 2 - z**2 * covariance[1, 1]
    b = one.mean() * two.mean() - z**2 * covariance[0, 1]
    c = one.mean() ** 2 - z**2 * covariance[0, 0]
    root = np.sqrt(b * b - a * c)
    return (b - root) / a, (b + root) / a


@pytest.mark.parametrize("benchmark", ["bridge", "calvin"])
def test_many_states_give_fiellers_interval(benchmark):
    random, top = np.random.default_rng(3), 5 if benchmark == "calvin" else 1
    two = random.binomial(top, 0.7, size=20_000)
    one = random.binomial(two, 0.4)
    metric = "average_length" if benchmark == "calvin" else "success_rate"
    found = share(cell(one, benchmark=benchmark), cell(two, benchmark=benchmark), metric)
    assert found.value == pytest.approx(one.mean() / two.mean())
    assert (found.ci_low, found.ci_high) == pytest.approx(fieller(one, two), abs=1.5e-3)


def test_few_states_keep_the_coverage():
    random, inside = np.random.default_rng(5), 0
    for _ in range(200):
        two = random.random(30) < 0.5
        found = share(cell(two & (random.random(30) < 0.6)), cell(two), "success_rate")
        inside += found.ci_low <= 0.6 and (found.ci_high is None or found.ci_high >= 0.6)
    assert inside >= 185  # 95 % of 200, less two standard deviations


def test_the_limits_of_extreme_scores():
    none, every = cell([0] * 50), cell([1] * 50)
    found = share(none, every, "success_rate")
    assert found.value == found.ci_low == 0 and 0.03 < found.ci_high < 0.12
    assert share(every, none, "success_rate") is None
    assert share(every, cell([1] * 50, first=50), "success_rate") is None


def test_seeds_widen_the_interval():
    random = np.random.default_rng(9)
    hard = random.random(100)
    apart = [pd.concat([cell(hard < rate, seed) for seed, rate in enumerate(rates)]) for rates in
             ((0.1, 0.3, 0.5), (0.3, 0.3, 0.3), (0.8, 0.8, 0.8))]  # fmt: skip
    spread, alike = (share(one, apart[2], "success_rate") for one in apart[:2])
    assert spread.value == pytest.approx(alike.value, abs=0.05)
    assert spread.ci_high - spread.ci_low > 2 * (alike.ci_high - alike.ci_low)
    assert alike.ci_low < alike.value < alike.ci_high < 0.5 < spread.ci_high
