"""Compare two policies that ran on different trials: success rates, and means of other outcomes.

Rates: Boschloo's exact test and Newcombe's interval of the difference. Means: a permutation test and
an interval from those of both means.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, xlog1py, xlogy

from vlm4vla.analysis.intervals import LEVEL, SEED, bounded_mean, wilson

GRID = 257  # common rates at which the p value is computed before its maximum is searched between them
PERMUTATIONS = 99_999
_BATCH = 5_000  # permutations drawn at once, to limit memory
_TABLE_TIE = 1e-9  # relative tolerance: tables as extreme as the observed one must count, despite rounding
_MEAN_TIE = 1e-12  # absolute tolerance of the same kind, for differences of means


@dataclass(frozen=True)
class UnpairedRates:
    """First minus second rate. `p_value` is two-sided. `p_least` is smaller only if a count is not whole."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_least: float
    test: str = "Boschloo"


@dataclass(frozen=True)
class UnpairedMeans:
    """First minus second mean. `p_value` is two-sided."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str = "permutation"


def compare_rates(successes: tuple[float, float], trials: tuple[int, int]) -> UnpairedRates:
    """Compare `successes[0]` of `trials[0]` with `successes[1]` of `trials[1]`.

    A number of successes need not be whole: the printed rate may not be possible with these trials, or the
    number may be a mean over training seeds. The interval uses the number as it is. The test uses the whole
    numbers next to it and takes the largest p value, so a significant difference is significant for each of
    them.
    """
    (one, other), (first, second) = successes, trials
    low, high = newcombe(one, first, other, second)
    p = [
        boschloo(left, first, right, second)
        for left in whole_neighbours(one, first)
        for right in whole_neighbours(other, second)
    ]
    return UnpairedRates(one / first - other / second, low, high, max(p), min(p))


def whole_neighbours(successes: float, trials: int) -> list[int]:
    """The whole numbers next to `successes`, at most `trials`: one if it is whole, else two."""
    if abs(successes - round(successes)) < 1e-9:
        return [round(successes)]
    below = int(np.floor(successes))
    return [below, min(below + 1, trials)]


def newcombe(one: float, first: int, other: float, second: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of one/first - other/second from two Wilson intervals (Newcombe 1998, method 10)."""
    limits = wilson(one, first, level), wilson(other, second, level)
    low, high = _of_difference(one / first, limits[0], other / second, limits[1])
    return max(-1.0, low), min(1.0, high)


def _of_difference(
    p: float, of_p: tuple[float, float], q: float, of_q: tuple[float, float]
) -> tuple[float, float]:
    """Interval of p - q from the intervals of two independent estimates `p` and `q` (Newcombe 1998)."""
    (p_low, p_high), (q_low, q_high) = of_p, of_q
    low = p - q - np.hypot(p - p_low, q_high - q)
    return float(low), float(p - q + np.hypot(p_high - p, q - q_low))


@functools.lru_cache(maxsize=4096)
def boschloo(one: int, first: int, other: int, second: int) -> float:
    """Two-sided p value of Boschloo's exact unconditional test (Boschloo 1970).

    Fisher's p value is the test statistic. The result is twice the smaller one-sided p value, at most 1, as
    in scipy.stats.boschloo_exact. With 500 trials a side, SciPy's function takes seconds and this function
    some hundredths of a second. Raises ValueError if there are no trials or the counts are impossible.
    """
    if min(first, second) < 1 or not (0 <= one <= first and 0 <= other <= second):
        raise ValueError(f"impossible counts: {one} of {first} and {other} of {second}")
    less = _one_sided(one, first, other, second)
    greater = _one_sided(other, second, one, first)
    return min(1.0, 2 * min(less, greater))


def _one_sided(one: int, first: int, other: int, second: int) -> float:
    """The p value against a lower first rate: the maximum over all common rates of the tail probability."""
    statistic = _fisher(first, second)
    extreme = statistic <= statistic[one, other] * (1 + _TABLE_TIE)
    # For each j, the extreme tables (i, j) are those with the smallest i: Fisher's p value rises with i.
    counts = extreme.sum(axis=0)

    def tail(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        below = np.pad(left.cumsum(axis=1), ((0, 0), (1, 0)))  # column n: P(i < n)
        return (below[:, counts] * right).sum(axis=1)

    def probability(rate: float) -> float:
        rates = np.array([rate])
        return float(tail(_outcomes(first, rates), _outcomes(second, rates))[0])

    grid = np.linspace(0, 1, GRID)
    found = tail(_on_grid(first), _on_grid(second))
    best = int(found.argmax())
    between = (grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)])
    refined = minimize_scalar(lambda rate: -probability(rate), bounds=between, method="bounded")
    return float(min(1.0, max(found[best], -refined.fun)))


def _outcomes(trials: int, rates: np.ndarray) -> np.ndarray:
    """(r, trials + 1): the probability of each number of successes at each of `rates` (r,)."""
    k, rates = np.arange(trials + 1), rates[:, None]
    return np.exp(_log_choose(trials, k) + xlogy(k, rates) + xlog1py(trials - k, -rates))


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


@functools.lru_cache(maxsize=16)
def _on_grid(trials: int) -> np.ndarray:
    """`_outcomes` at the GRID rates."""
    return _outcomes(trials, np.linspace(0, 1, GRID))


@functools.lru_cache(maxsize=16)
def _fisher(first: int, second: int) -> np.ndarray:
    """(first + 1, second + 1): Fisher's one-sided p value, that the first rate is lower, of table (i, j).

    The p value is P(X <= i) of the hypergeometric X with the total i + j.
    """
    i, j = np.arange(first + 1)[:, None], np.arange(second + 1)[None, :]
    mass = np.exp(_log_choose(first, i) + _log_choose(second, j) - _log_choose(first + second, i + j))
    by_total = np.zeros((first + 1, first + second + 1))  # row i, column i + j
    by_total[i, i + j] = mass
    return by_total.cumsum(axis=0)[i, i + j]


def compare_samples(
    first: np.ndarray, second: np.ndarray, bounds: tuple[float, float], level: float = LEVEL, seed: int = SEED
) -> UnpairedMeans:
    """Compare the means of two independent samples `first` (n,) and `second` (m,) of values within `bounds`.

    The p value is the share of random regroupings whose means differ at least as much as the observed ones.
    The observed grouping is counted, too (Phipson and Smyth 2010), so the p value is valid and never 0.
    The interval combines those of both means (`intervals.bounded_mean`) as Newcombe's does for rates. Raises
    ValueError if a sample is empty or a value is outside `bounds`.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not (first.size and second.size):
        raise ValueError("a sample is empty")
    random = np.random.default_rng(seed)
    difference = first.mean() - second.mean()
    everything = np.sort(np.concatenate([first, second]))  # sorted: the order of episodes must have no effect
    total, n, m = everything.sum(), first.size, second.size
    # A regrouping is fully described by how many of each distinct value the first group gets.
    distinct, counts = np.unique(everything, return_counts=True)
    far = 0
    for begin in range(0, PERMUTATIONS, _BATCH):
        draws = min(_BATCH, PERMUTATIONS - begin)
        if len(distinct) == 1:
            far += draws
            continue
        sums = random.multivariate_hypergeometric(counts, n, size=draws, method="marginals") @ distinct
        far += int((np.abs(sums / n - (total - sums) / m) >= abs(difference) - _MEAN_TIE).sum())
    limits = [bounded_mean(sample, bounds, level, seed=seed) for sample in (first, second)]
    low, high = _of_difference(float(first.mean()), limits[0], float(second.mean()), limits[1])
    return UnpairedMeans(float(difference), low, high, (1 + far) / (1 + PERMUTATIONS))
