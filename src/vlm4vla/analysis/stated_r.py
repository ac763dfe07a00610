"""What a published correlation says by itself: r and the number of points are enough for a test."""

from __future__ import annotations

import math
from statistics import NormalDist

from scipy import stats

from vlm4vla.analysis.intervals import LEVEL


def fisher_interval(r: float, points: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of Pearson's r by Fisher's z, for normal scores. Raises ValueError below four points."""
    if points < 4 or not -1 < r < 1:
        raise ValueError(f"r = {r} over {points} points")
    half = NormalDist().inv_cdf(0.5 + level / 2) / math.sqrt(points - 3)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def t_test_p(r: float, points: int) -> float:
    """Two-sided p of Pearson's r against no correlation, for normal scores."""
    t = abs(r) * math.sqrt((points - 2) / (1 - r * r))
    return float(2 * stats.t.sf(t, points - 2))


def least_significant(points: int, level: float = LEVEL) -> float:
    """The |r| from which `points` points are significant at 1 - `level`, two-sided."""
    t = stats.t.ppf(0.5 + level / 2, points - 2)
    return float(t / math.sqrt(points - 2 + t * t))
