"""95 % intervals of a correlation over few points, which never reach beyond -1 and 1.

A bootstrap over four to ten points leaves the true value out too often (`speed/interval_coverage.py` measures
it). These intervals follow from the coefficient and the number of points, for scores that are normal after a
monotone transform (Pearson's r: for normal scores).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import stats

from vlm4vla.analysis.intervals import LEVEL, SEED
from vlm4vla.analysis.published_numbers import fisher_interval

LEAST_POINTS = 4  # Fisher's standard error is infinite at three
Interval = tuple[float, float] | tuple[None, None]

_PERFECT = 1 - 1e-12
_ROUNDING = 1e-9
_DRAWS = 4_000
_Z = np.arange(0.0, 5.01, 0.1)  # atanh of the correlations that are tried


def pearson_interval(r: float, points: int, level: float = LEVEL) -> Interval:
    """Fisher's z interval of Pearson's `r` over `points` points. (None, None) below four points.

    For r = 1, which has no z, the other end is the smallest correlation of normal scores for which all points
    are in the same order in (1 - `level`) / 2 of samples.
    """
    if points < LEAST_POINTS:
        return None, None
    if abs(r) < _PERFECT:
        return fisher_interval(r, points, level)
    low = _least_correlation(points, level)
    return (low, 1.0) if r > 0 else (-1.0, -low)


def spearman_interval(rho: float, points: int, level: float = LEVEL) -> Interval:
    """Interval of Spearman's `rho` over `points` points: the true values for which `rho` is not extreme.

    The distribution of the coefficient is simulated for normal scores of each correlation. With ties, it is
    approximate. (None, None) below four points.
    """
    if points < LEAST_POINTS:
        return None, None
    low, high = _inverted(_spearman, rho, points, level)
    return 6 / math.pi * math.asin(low / 2), 6 / math.pi * math.asin(high / 2)


def kendall_interval(tau: float, points: int, level: float = LEVEL) -> Interval:
    """Interval of Kendall's `tau`, in the way of `spearman_interval`."""
    if points < LEAST_POINTS:
        return None, None
    low, high = _inverted(_kendall, tau, points, level)
    return 2 / math.pi * math.asin(low), 2 / math.pi * math.asin(high)


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _cosines(*(stats.rankdata(side, axis=1) for side in (x, y)))


def _kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(x.shape[1], 1)
    return (np.sign(x[:, first] - x[:, second]) * np.sign(y[:, first] - y[:, second])).mean(axis=1)


def _cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def _inverted(
    coefficient: Callable[[np.ndarray, np.ndarray], np.ndarray], found: float, points: int, level: float
) -> tuple[float, float]:
    """The smallest and largest correlation of normal scores at which `found` is not extreme."""
    low, high = _ranges(coefficient, points, level)
    correlations = np.tanh(np.concatenate([-_Z[:0:-1], _Z]))
    low, high = np.concatenate([-high[:0:-1], low]), np.concatenate([-low[:0:-1], high])
    possible = np.flatnonzero((low <= found + _ROUNDING) & (found - _ROUNDING <= high))
    # One step further on each side, so that the steps cost no coverage.
    first, last = max(possible[0] - 1, 0), min(possible[-1] + 1, len(low) - 1)
    ends = float(correlations[first]), float(correlations[last])
    return -1.0 if first == 0 else ends[0], 1.0 if last == len(low) - 1 else ends[1]


@lru_cache(maxsize=64)
def _ranges(
    coefficient: Callable[[np.ndarray, np.ndarray], np.ndarray], points: int, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """The central `level` of `coefficient` for each correlation of `_Z`: (z,) and (z,)."""
    draws = max(500, min(_DRAWS, 100 * _DRAWS // points**2))  # Kendall's tau compares n² / 2 pairs
    x, noise = np.random.default_rng([SEED, points]).standard_normal((2, draws, points))
    tail, low, high = (1 - level) / 2, [], []
    for r in np.tanh(_Z):
        values = coefficient(x, r * x + math.sqrt(1 - r * r) * noise)
        low.append(np.quantile(values, tail, method="lower"))
        high.append(np.quantile(values, 1 - tail, method="higher"))
    # Both grow with the correlation; the simulated ones can waver.
    return np.maximum.accumulate(low), np.maximum.accumulate(high)


@lru_cache(maxsize=64)
def _least_correlation(points: int, level: float) -> float:
    """The r of normal scores for which (1 - `level`) / 2 of samples have all `points` in the same order.

    With y = r x + sqrt(1 - r²) e, the orders agree if r / sqrt(1 - r²) exceeds every -Δe / Δx of neighbours
    in the order of x. So a quantile of the largest of these ratios gives r.
    """
    x, e = np.random.default_rng([SEED, points]).standard_normal((2, 5 * _DRAWS, points))
    steps = np.diff(np.sort(x, axis=1), axis=1)
    ratio = np.quantile((-np.diff(e, axis=1) / steps).max(axis=1), (1 - level) / 2)
    return float(ratio / math.hypot(1.0, ratio))
