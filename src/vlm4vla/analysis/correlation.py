"""Correlation of two scores over few backbones, with p values that are valid for few points."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vlm4vla.analysis.correlation_intervals import (
    Interval,
    kendall_interval,
    pearson_interval,
    spearman_interval,
)
from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED, percentiles
from vlm4vla.analysis.kendall import MONTE_CARLO, tau_b, tau_p

EXACT_UP_TO = 10  # points; 10! = 3.6 million orders
_BATCH = 10_000  # permutations drawn at once, to limit memory
_TIE = 1e-12  # orders with the observed r must count, despite rounding


@dataclass(frozen=True)
class Correlation:
    """Three coefficients, each with an interval and a two-sided permutation p value.

    `ci_low` and `ci_high` belong to Pearson's r. `pearson_p_normal` is the p value of the t test, which is
    valid for normal scores only. The intervals (`correlation_intervals`) are about other points of the same
    kind, and None below four points.
    """

    points: int
    pearson: float
    ci_low: float | None
    ci_high: float | None
    pearson_p: float
    pearson_p_normal: float
    spearman: float
    spearman_p: float
    spearman_ci: Interval
    kendall: float
    kendall_p: float
    kendall_ci: Interval
    p_method: str


def correlate(x: np.ndarray, y: np.ndarray) -> Correlation | None:
    """Correlation of `x` (n,) and `y` (n,). None below three points, or if `x` or `y` is constant.

    Raises ValueError if the shapes differ.
    """
    x, y = _check_points(x, y)
    if not is_defined(x, y):
        return None
    ranks = stats.rankdata(x), stats.rankdata(y)
    r, rho, tau = pearson(x, y), pearson(*ranks), tau_b(x, y)
    low, high = pearson_interval(r, len(x))
    exact = len(x) <= EXACT_UP_TO
    return Correlation(
        points=len(x),
        pearson=r,
        ci_low=low,
        ci_high=high,
        pearson_p=permutation_p(x, y),
        pearson_p_normal=float(stats.pearsonr(x, y).pvalue),
        spearman=rho,
        spearman_p=permutation_p(*ranks),
        spearman_ci=spearman_interval(rho, len(x)),
        kendall=tau,
        kendall_p=tau_p(x, y, exact=exact, seed=SEED),
        kendall_ci=kendall_interval(tau, len(x)),
        p_method="exact permutation" if exact else f"{MONTE_CARLO} permutations",
    )


def is_defined(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether r is defined: there are three points or more, and neither `x` nor `y` is constant."""
    return len(x) >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0


def _check_points(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be (n,), but their shapes are {x.shape} and {y.shape}")
    return x, y


def _unit_vector(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / np.linalg.norm(centred)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r of `x` (n,) and `y` (n,). Neither may be constant."""
    return float(np.clip(_unit_vector(x) @ _unit_vector(y), -1.0, 1.0))


def permutation_p(x: np.ndarray, y: np.ndarray, seed: int = SEED) -> float:
    """Two-sided permutation p value of Pearson's r: all orders up to 10 points, sampled orders above.

    Pass ranks to test Spearman's coefficient.
    """
    x, y = _unit_vector(np.asarray(x, dtype=np.float64)), _unit_vector(np.asarray(y, dtype=np.float64))
    observed = abs(x @ y) - _TIE
    if len(x) <= EXACT_UP_TO:
        return _count_extreme_orders(x, y, observed) / math.factorial(len(x))
    random, far = np.random.default_rng(seed), 0
    for begin in range(0, MONTE_CARLO, _BATCH):
        copies = np.tile(y, (min(_BATCH, MONTE_CARLO - begin), 1))
        far += int((np.abs(random.permuted(copies, axis=1) @ x) >= observed).sum())
    return float((1 + far) / (1 + MONTE_CARLO))


def _count_extreme_orders(x: np.ndarray, y: np.ndarray, least: float) -> int:
    """The number of the n! orders of `y` with |x . y| >= `least`.

    An order of `y` is a choice of the elements that are paired with the first half of `x`, and an order of
    each half. For each choice, the sums of the two halves are computed once and added pairwise.
    """
    half = len(x) // 2
    head = np.array(list(itertools.permutations(range(half))))
    tail = np.array(list(itertools.permutations(range(len(x) - half))))
    everything = set(range(len(x)))
    count = 0
    for chosen in itertools.combinations(range(len(x)), half):
        rest = sorted(everything.difference(chosen))
        first, second = y[list(chosen)][head] @ x[:half], y[rest][tail] @ x[half:]
        count += int((np.abs(first[:, None] + second[None, :]) >= least).sum())
    return count


def bootstrap_pearson(
    x: np.ndarray, y: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Percentile interval of r over resampled points (backbones). (None, None) below four points.

    Resamples in which `x` or `y` is constant have no r and are left out. For few points, the interval leaves
    the true r out too often. So the tables have `pearson_interval`, and `speed/interval_coverage.py` compares
    both.
    """
    count = len(x)
    if count < 4:
        return None, None
    chosen = np.random.default_rng(seed).integers(count, size=(resamples, count))
    x, y = np.asarray(x)[chosen], np.asarray(y)[chosen]
    usable = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    return percentiles(pearson_rows(x[usable], y[usable]), level) if usable.any() else (None, None)


def pearson_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's r of each row of `x` (b, n) with the same row of `y`."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
