import math

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.correlation_intervals import kendall_interval, pearson_interval, spearman_interval

ALL = (pearson_interval, spearman_interval, kendall_interval)


@pytest.mark.parametrize("interval", ALL)
def test_below_four_points_there_is_none(interval):
    assert interval(0.5, 3) == interval(1.0, 2) == (None, None)


@pytest.mark.parametrize("interval", ALL)
@pytest.mark.parametrize("points", [4, 5, 7, 10])
def test_ends_are_within_1_and_have_a_width(interval, points):
    for value in (-1.0, -0.6, 0.0, 0.2, 1.0):
        low, high = interval(value, points)
        assert -1 <= low < high <= 1
        assert interval(-value, points) == pytest.approx((-high, -low))


@pytest.mark.parametrize("points", [4, 5, 6])
def test_all_in_one_order_is_as_likely_as_the_lower_limit_says(points):
    low, high = pearson_interval(1.0, points)
    assert high == 1.0
    x, e = np.random.default_rng(11).normal(size=(2, 200_000, points))
    y = low * x + math.sqrt(1 - low**2) * e
    same = (stats.rankdata(x, axis=1) == stats.rankdata(y, axis=1)).all(axis=1).mean()
    assert same == pytest.approx(0.025, abs=0.003)


@pytest.mark.parametrize("r", [0.0, 0.8])
def test_coverage_over_four_and_nine_points(r):
    random = np.random.default_rng(2)
    for points in (4, 9):
        held = np.zeros(3)
        truth = (r, 6 / math.pi * math.asin(r / 2), 2 / math.pi * math.asin(r))
        for _ in range(400):
            x, e = random.normal(size=(2, points))
            y = r * x + math.sqrt(1 - r * r) * e
            found = (stats.pearsonr(x, y), stats.spearmanr(x, y), stats.kendalltau(x, y))
            for index, (interval, each) in enumerate(zip(ALL, found, strict=True)):
                low, high = interval(float(each.statistic), points)
                held[index] += low <= truth[index] <= high
        assert (held / 400 >= 0.92).all()
