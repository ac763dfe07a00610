"""Two success rates from different trials: Boschloo's exact test, Newcombe's interval of the difference."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import binom

from vlm4vla.analysis.intervals import LEVEL, wilson

GRID = 257  # values of the common rate that are tried before the largest p is searched between them
_TIE = 1e-9  # tables as extreme as the observed one must count, whatever their rounding


@dataclass(frozen=True)
class UnpairedRates:
    """First minus second rate; `p_value` is two-sided, `p_least` below it only where a count is not whole."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_least: float
    test: str = "Boschloo"


def compare_rates(successes: tuple[float, float], trials: tuple[int, int]) -> UnpairedRates:
    """Compare `successes[0]` of `trials[0]` with `successes[1]` of `trials[1]`.

    Successes that are no whole number (a rate that its trials cannot give, a mean over training seeds) enter
    the interval as they are. The test then takes the largest p of the whole numbers next to them, so a
    difference that is significant is so whichever of them was meant.
    """
    (one, other), (first, second) = successes, trials
    low, high = newcombe(one, first, other, second)
    p = [
        boschloo(left, first, right, second)
        for left in _neighbours(one, first)
        for right in _neighbours(other, second)
    ]
    return UnpairedRates(one / first - other / second, low, high, max(p), min(p))


def _neighbours(successes: float, trials: int) -> list[int]:
    if abs(successes - round(successes)) < 1e-9:
        return [round(successes)]
    below = int(np.floor(successes))
    return [below, min(below + 1, trials)]


def newcombe(one: float, first: int, other: float, second: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of one/first - other/second from two Wilson intervals (Newcombe 1998, method 10)."""
    p, q = one / first, other / second
    (p_low, p_high), (q_low, q_high) = wilson(one, first, level), wilson(other, second, level)
    low = p - q - np.hypot(p - p_low, q_high - q)
    high = p - q + np.hypot(p_high - p, q - q_low)
    return float(max(-1.0, low)), float(min(1.0, high))


@functools.lru_cache(maxsize=4096)
def boschloo(one: int, first: int, other: int, second: int) -> float:
    """Two-sided p of Boschloo's exact unconditional test (Boschloo 1970): Fisher's p is the statistic.

    Twice the smaller one-sided p, at most 1, as scipy.stats.boschloo_exact has it; that one takes seconds for
    500 trials a side, this one some hundredths. Raises ValueError for no trials or impossible counts.
    """
    if min(first, second) < 1 or not (0 <= one <= first and 0 <= other <= second):
        raise ValueError(f"{one} of {first} and {other} of {second}")
    less = _one_sided(one, first, other, second)
    greater = _one_sided(other, second, one, first)
    return min(1.0, 2 * min(less, greater))


def _one_sided(one: int, first: int, other: int, second: int) -> float:
    """The largest probability, over all common rates, of a table where the first rate looks as low."""
    statistic = _fisher(first, second)
    extreme = (statistic <= statistic[one, other] * (1 + _TIE)).astype(np.float64)

    def probability(rates: np.ndarray) -> np.ndarray:
        rates = np.atleast_1d(rates)[:, None]
        left = binom.pmf(np.arange(first + 1), first, rates)
        right = binom.pmf(np.arange(second + 1), second, rates)
        return ((left @ extreme) * right).sum(axis=1)

    grid = np.linspace(0, 1, GRID)
    found = probability(grid)
    best = int(found.argmax())
    between = (grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)])
    refined = minimize_scalar(lambda rate: -probability(rate)[0], bounds=between, method="bounded")
    return float(min(1.0, max(found[best], -refined.fun)))


@functools.lru_cache(maxsize=16)
def _fisher(first: int, second: int) -> np.ndarray:
    """(first + 1, second + 1): Fisher's one-sided p of each table, that the first rate is lower.

    P(X <= i) of the hypergeometric X with the table's own total i + j.
    """
    i, j = np.arange(first + 1)[:, None], np.arange(second + 1)[None, :]

    def log_choose(n: int, k: np.ndarray) -> np.ndarray:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    mass = np.exp(log_choose(first, i) + log_choose(second, j) - log_choose(first + second, i + j))
    by_total = np.zeros((first + 1, first + second + 1))  # row i, column i + j
    by_total[i, i + j] = mass
    return by_total.cumsum(axis=0)[i, i + j]
