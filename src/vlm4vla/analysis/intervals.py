"""Confidence intervals of a cell with one training seed: Wilson for rates, bounded means for chains."""

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


def bounded_mean(
    values: np.ndarray,
    bounds: tuple[float, float],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Gaffke's interval of the mean of `values` (n,), which cannot be outside `bounds`.

    For the upper limit, one more value at the upper bound joins the values, and the mean is resampled with
    Dirichlet weights (the Bayesian bootstrap). The lower limit has one more value at the lower bound (Gaffke
    2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
    variable"; Learned-Miller and Thomas 2020, "A new confidence interval for the mean of a bounded random
    variable"). For values that are all at a bound, as for any 0/1 values, it is the Clopper-Pearson interval.
    So it has a width even if all values are equal. For many values, it approaches the bootstrap. Raises
    ValueError if there are no values or a value is outside `bounds`.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no values")
    if not (bounds[0] <= values.min() and values.max() <= bounds[1]):
        raise ValueError(f"values from {values.min()} to {values.max()} are not within {bounds}")
    distinct, counts = np.unique(values, return_counts=True)
    # The Dirichlet weights of equal values are summed, so one gamma variable each is enough.
    weights = np.random.default_rng(seed).standard_gamma(counts, size=(resamples, len(counts)))
    return bounded_limits(weights @ distinct / weights.sum(axis=1), values.size, bounds, level)


def bounded_limits(
    resampled: np.ndarray, count: int, bounds: tuple[float, float], level: float = LEVEL
) -> tuple[float, float]:
    """Limits from resampled means (b,) of `count` values, after one more value at each bound in turn.

    One of count + 1 Dirichlet weights is Beta(1, count), and the other values share the rest. The order of
    `resampled` must be random, because the weights are the evenly spaced quantiles of this distribution.
    """
    tail = (1 - level) / 2
    weight = 1 - (1 - (np.arange(len(resampled)) + 0.5) / len(resampled)) ** (1 / count)
    low, high = (resampled + weight * (bound - resampled) for bound in bounds)
    return max(bounds[0], float(np.quantile(low, tail))), min(bounds[1], float(np.quantile(high, 1 - tail)))


def equal_values(value: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Limits of `bounded_mean` within [0, 1] for `count` values that are all equal to `value`.

    They are the least width of an interval over `count` values of which only the mean is known. Raises
    ValueError if there are no values or `value` is outside [0, 1].
    """
    if count < 1 or not 0 <= value <= 1:
        raise ValueError(f"{count} values of {value} are not within [0, 1]")
    weight = 1 - ((1 - level) / 2) ** (1 / count)
    return value * (1 - weight), value + (1 - value) * weight


def bootstrap_mean(
    values: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (n,), resampled with replacement.

    It has no width if all values are equal, and it is too narrow if nearly all are. So the tables use
    `bounded_mean`, and `speed/interval_coverage.py` compares both.

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
