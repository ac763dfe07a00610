import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.rliable import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    rank_scores,
)


@pytest.mark.parametrize("case", range(20))
def test_interquartile_mean_cuts_a_quarter_at_each_end(case):
    random = np.random.default_rng(case)
    scores = random.uniform(size=(3, random.integers(1, 20)))
    cut = scores.shape[1] // 4
    expected = [np.mean(sorted(row)[cut : len(row) - cut]) for row in scores]
    assert interquartile_mean(scores) == pytest.approx(expected)


@pytest.mark.parametrize("case", range(20))
def test_improvement_is_the_mann_whitney_statistic(case):
    random = np.random.default_rng(case)
    tasks = random.integers(1, 5)
    first = [random.integers(0, 6, size=random.integers(1, 30)) for _ in range(tasks)]
    second = [random.integers(0, 6, size=random.integers(1, 30)) for _ in range(tasks)]
    expected = np.mean(
        [stats.mannwhitneyu(x, y).statistic / (x.size * y.size) for x, y in zip(first, second, strict=True)]
    )
    assert probability_of_improvement(first, second) == pytest.approx(expected)
    assert probability_of_improvement(second, first) == pytest.approx(1 - expected)


@pytest.mark.parametrize("case", range(20))
def test_profile_and_ranks_by_hand(case):
    random = np.random.default_rng(case)
    scores, thresholds = np.round(random.uniform(size=(4, 9)), 1), np.array([0.0, 0.3, 0.5, 1.0])
    expected = [[sum(s > t for s in row) / 9 for t in thresholds] for row in scores]
    assert performance_profile(scores, thresholds) == pytest.approx(np.array(expected))
    for row, found in zip(scores, rank_scores(scores), strict=True):
        assert found == pytest.approx([sum(row > s) + (sum(row == s) + 1) / 2 for s in row])


def test_edges():
    assert probability_of_improvement([np.zeros(4)], [np.zeros(3)]) == 0.5
    assert interquartile_mean([0.4]) == 0.4
    assert list(rank_scores(np.ones(3))) == [2.0, 2.0, 2.0]
    for call in (interquartile_mean, lambda none: performance_profile(none, [0.5])):
        with pytest.raises(ValueError, match="no scores"):
            call([])
    with pytest.raises(ValueError, match="tasks"):
        probability_of_improvement([], [])
