"""Two success rates on different initial states: Boschloo's or Barnard's exact test, Newcombe's interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from vlm4vla.analysis.intervals import LEVEL, wilson

# points at which scipy looks for the worst common rate; its own 32 leave some p values a little small
_POINTS = 128


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
    columns = [[first, second], [n - first, m - second]]
    if first + second in (0, n + m):
        p = 1.0  # nothing tells the two apart
    elif test == "Boschloo":
        p = float(stats.boschloo_exact(columns, n=_POINTS).pvalue)
    else:
        p = float(stats.barnard_exact(columns, pooled=True, n=_POINTS).pvalue)
    return UnpairedComparison(first / n - second / m, low, high, min(1.0, p), test)


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
