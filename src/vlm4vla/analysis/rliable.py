"""Aggregate scores over several benchmarks, as in rliable (Agarwal et al. 2021, arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean of the middle half of `scores` (..., n) along the last axis, without a quarter at each end.

    As in rliable, the number of scores cut off is rounded down (SciPy's trim_mean). Raises ValueError if
    there are no scores.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape[-1] == 0:
        raise ValueError("no scores")
    return stats.trim_mean(scores, 0.25, axis=-1)


def probability_of_improvement(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Probability that a run of the first policy scores higher than a run of the second, averaged over tasks.

    Ties count one half. `first` and `second` contain one array of scores per task, (n,) and (m,). A task's
    probability is the Mann-Whitney statistic divided by n m (arXiv 2108.13264, section 4.3). Raises
    ValueError if there is no task, or if the two have different numbers of tasks.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"the policies have {len(first)} and {len(second)} tasks: pass the same tasks")
    return float(np.mean([_probability_higher(x, y) for x, y in zip(first, second, strict=True)]))


def _probability_higher(x: np.ndarray, y: np.ndarray) -> float:
    """Computed from counts of distinct scores, which is fast for thousands of runs."""
    x, y = np.asarray(x), np.asarray(y)
    levels, index = np.unique(np.concatenate([x, y]), return_inverse=True)
    own = np.bincount(index[: x.size], minlength=levels.size)
    other = np.bincount(index[x.size :], minlength=levels.size)
    below = np.cumsum(other) - other
    return float((own * (below + 0.5 * other)).sum() / (x.size * y.size))


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of `scores` (..., n) above each of `thresholds` (t,): (..., t). Section 4.2 of the paper."""
    scores, thresholds = np.asarray(scores, dtype=np.float64), np.asarray(thresholds, dtype=np.float64)
    if scores.shape[-1] == 0:
        raise ValueError("no scores")
    return (scores[..., :, None] > thresholds).mean(axis=-2)


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Ranks of `scores` (..., models) along the last axis. 1 is the best; ties share their mean rank."""
    return stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=-1)
