"""Confidence intervals of a cell with one training seed: Wilson for rates, bootstrap for means."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 20_260_103


def wilson(successes: float, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), within [0, 1].

    `successes` may be fractional: a mean over training seeds times the number of initial states. Raises
    ValueError if there are no trials or `successes` is outside [0, trials].
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials are impossible")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # With no or only successes, a limit is exactly 0 or 1, despite rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def bootstrap_mean(
    values: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (n,), resampled with replacement.

    Resampling n values is the same as drawing multinomial counts of the distinct values. Drawing counts is
    faster and does not depend on the order of `values`. Raises ValueError if there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no values")
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(values.size, counts / values.size, size=resamples)
    return percentiles(draws @ distinct / values.size, level)


def percentiles(resampled: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of resampled values (n,): their middle `level` (Efron and Tibshirani 1993)."""
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
