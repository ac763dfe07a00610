"""One number over several benchmarks, as rliable defines it (Agarwal et al. 2021, arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean of the middle half of `scores` (..., n) along the last axis: a quarter is cut off at each end.

    As in rliable, the number cut off is rounded down (scipy's trim_mean). Raises ValueError without scores.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape[-1] == 0:
        raise ValueError("no scores")
    return stats.trim_mean(scores, 0.25, axis=-1)


def probability_of_improvement(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """P(a run of the first policy scores higher than one of the second), ties half, mean over tasks.

    `first` and `second` hold one array of runs a task, (n,) and (m,): the Mann-Whitney statistic over n m
    (arXiv 2108.13264, section 4.3). Raises ValueError where the two have no task, or not equally many.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} tasks")
    return float(np.mean([_superiority(x, y) for x, y in zip(first, second, strict=True)]))


def _superiority(x: np.ndarray, y: np.ndarray) -> float:
    """By counts of distinct scores, so that a thousand runs against a thousand are quick."""
    x, y = np.asarray(x), np.asarray(y)
    levels, place = np.unique(np.concatenate([x, y]), return_inverse=True)
    own = np.bincount(place[: x.size], minlength=levels.size)
    other = np.bincount(place[x.size :], minlength=levels.size)
    below = np.cumsum(other) - other
    return float((own * (below + 0.5 * other)).sum() / (x.size * y.size))


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of `scores` (..., n) above each of `thresholds` (t,): (..., t); section 4.2 of the paper."""
    scores, thresholds = np.asarray(scores, dtype=np.float64), np.asarray(thresholds, dtype=np.float64)
    if scores.shape[-1] == 0:
        raise ValueError("no scores")
    return (scores[..., :, None] > thresholds).mean(axis=-2)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of `scores` (..., models) along the last axis: 1 is the best, equal scores share a mean rank."""
    return stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=-1)
