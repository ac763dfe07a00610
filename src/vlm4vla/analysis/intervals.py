"""Confidence intervals of one cell and one seed: Wilson for rates, bootstrap over episodes for means."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 20_260_103


def wilson(successes: float, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), within [0, 1].

    `successes` may be fractional (a mean over training seeds times the number of initial states).
    Raises ValueError for no trials or successes outside [0, trials].
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # at the ends the interval starts exactly at 0 or 1; rounding must not carry it past
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def bootstrap_mean(
    values: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (n,), resampled with replacement.

    Drawing n values again is drawing multinomial counts of the distinct values, which is quicker and
    does not depend on the order of `values`. Raises ValueError when there are none.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no values")
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(values.size, counts / values.size, size=resamples)
    return percentiles(draws @ distinct / values.size, level)


def percentiles(resampled: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of resampled values (n,): the percentile interval (Efron and Tibshirani 1993)."""
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
