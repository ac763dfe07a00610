"""Two success rates on different initial states: Boschloo's or Barnard's exact test, Newcombe's interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from vlm4vla.analysis.intervals import LEVEL, wilson

_TIE = (
    1e-9  # tables as extreme as the observed one must count, whatever their rounding: scipy's leave some out
)
_GRID = np.linspace(0, 1, 2001)


@dataclass(frozen=True)
class UnpairedComparison:
    """`difference`: first rate minus second; `p_value` is two-sided, of `test`."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str


def compare_rates(
    successes: tuple[int, int],
    trials: tuple[int, int],
    test: Literal["Boschloo", "Barnard"] = "Boschloo",
    level: float = LEVEL,
) -> UnpairedComparison:
    """Compare two independent success rates, such as the paper's, of which only counts are known.

    Both tests are exact and unconditional: they hold whatever the common rate is (Boschloo 1970, uniformly
    more powerful than Fisher's; Barnard 1945, with the pooled score statistic). Raises ValueError for no
    trials or successes outside [0, trials].
    """
    (first, second), (n, m) = successes, trials
    low, high = newcombe(successes, trials, level)
    if first + second in (0, n + m):
        p = 1.0  # nothing tells the two apart
    elif test == "Boschloo":
        p = 2 * min(_boschloo_one_sided(first, second, n, m), _boschloo_one_sided(second, first, m, n))
    else:
        scores = np.abs(_pooled_scores(n, m))
        p = _worst(scores >= scores[first, second] - _TIE)
    return UnpairedComparison(first / n - second / m, low, high, min(1.0, p), test)


def _boschloo_one_sided(first: int, second: int, n: int, m: int) -> float:
    """p of Boschloo's test that the first rate is larger: Fisher's one-sided p is the statistic."""
    i, j = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    fisher = stats.hypergeom.sf(i - 1, n + m, n, i + j)
    return _worst(fisher <= fisher[first, second] * (1 + _TIE))


def _pooled_scores(n: int, m: int) -> np.ndarray:
    """z of each table with the pooled rate's variance, (n + 1, m + 1); 0 where the rates are equal."""
    i, j = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    rate = (i + j) / (n + m)
    spread = np.sqrt(rate * (1 - rate) * (1 / n + 1 / m))
    return np.divide(i / n - j / m, spread, out=np.zeros(spread.shape), where=spread > 0)


def _worst(extreme: np.ndarray) -> float:
    """The largest probability, over the common rate, of the tables that are `extreme` (n + 1, m + 1)."""
    n, m = (size - 1 for size in extreme.shape)
    i, j = np.nonzero(extreme)
    # of all tables with k successes, the share that is extreme; it does not depend on the rate
    share = np.bincount(i + j, stats.hypergeom.pmf(i, n + m, n, i + j), n + m + 1)
    successes = np.arange(n + m + 1)

    def chance(rate: np.ndarray) -> np.ndarray:
        return stats.binom.pmf(successes, n + m, np.asarray(rate)[..., None]) @ share

    best = int(np.argmax(chance(_GRID)))
    low, high = _GRID[max(0, best - 1)], _GRID[min(len(_GRID) - 1, best + 1)]
    finer = optimize.minimize_scalar(lambda rate: -chance(rate), bounds=(low, high), method="bounded")
    return float(max(-finer.fun, chance(_GRID[best])))


def newcombe(
    successes: tuple[int, int], trials: tuple[int, int], level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the difference of two independent rates from Wilson's of each (Newcombe 1998, method 10).

    Raises ValueError for no trials or successes outside [0, trials].
    """
    (first, second), (n, m) = successes, trials
    (low_1, high_1), (low_2, high_2) = wilson(first, n, level), wilson(second, m, level)
    one, two = first / n, second / m
    below = math.hypot(one - low_1, high_2 - two)
    above = math.hypot(high_1 - one, two - low_2)
    return max(-1.0, one - two - below), min(1.0, one - two + above)
