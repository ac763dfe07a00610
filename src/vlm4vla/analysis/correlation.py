"""Correlation of two scores over a handful of backbones, with p values that hold for few points."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED

EXACT_UP_TO = 10  # 10! = 3.6 million orders
MONTE_CARLO = 99_999
_TIE = 1e-12  # orders that give the observed r again must count, whatever their rounding


@dataclass(frozen=True)
class Correlation:
    """`pearson` with a bootstrap interval over points; `spearman`; two-sided permutation p of each.

    `pearson_p_normal` is the p value of the t test, right only for normal scores.
    """

    points: int
    pearson: float
    ci_low: float | None
    ci_high: float | None
    pearson_p: float
    pearson_p_normal: float
    spearman: float
    spearman_p: float
    p_method: str


def correlate(x: np.ndarray, y: np.ndarray) -> Correlation | None:
    """Correlation of `x` (n,) and `y` (n,); None below three points or where one side never changes."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"shapes {x.shape} and {y.shape}")
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    ranks = stats.rankdata(x), stats.rankdata(y)
    low, high = bootstrap_pearson(x, y)
    exact = len(x) <= EXACT_UP_TO
    return Correlation(
        points=len(x),
        pearson=_pearson(x, y),
        ci_low=low,
        ci_high=high,
        pearson_p=permutation_p(x, y),
        pearson_p_normal=float(stats.pearsonr(x, y).pvalue),
        spearman=_pearson(*ranks),
        spearman_p=permutation_p(*ranks),
        p_method="exact permutation" if exact else f"{MONTE_CARLO} permutations",
    )


def _standard(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / np.linalg.norm(centred)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.clip(_standard(x) @ _standard(y), -1.0, 1.0))


def permutation_p(x: np.ndarray, y: np.ndarray, seed: int = SEED) -> float:
    """Two-sided p of Pearson's r under random pairing: every order up to 10 points, sampled ones above.

    Give ranks to test Spearman's coefficient.
    """
    x, y = _standard(np.asarray(x, dtype=np.float64)), _standard(np.asarray(y, dtype=np.float64))
    observed = abs(x @ y) - _TIE
    if len(x) <= EXACT_UP_TO:
        return _far_orders(x, y, observed) / math.factorial(len(x))
    random = np.random.default_rng(seed)
    far = sum(abs(random.permutation(y) @ x) >= observed for _ in range(MONTE_CARLO))
    return float((1 + far) / (1 + MONTE_CARLO))


def _far_orders(x: np.ndarray, y: np.ndarray, least: float) -> int:
    """How many of the n! orders of `y` have |x . y| >= `least`.

    An order of `y` is a choice of the elements that meet the first half of `x`, and an order of each half;
    the halves' sums are found once for each choice and added pairwise.
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
) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of r over resampled points (backbones); (None, None) below four points.

    Resamples where a side never changes have no r and are left out.
    """
    count = len(x)
    if count < 4:
        return None, None
    chosen = np.random.default_rng(seed).integers(count, size=(resamples, count))
    a, b = np.asarray(x)[chosen], np.asarray(y)[chosen]
    usable = (np.ptp(a, axis=1) > 0) & (np.ptp(b, axis=1) > 0)
    a, b = a[usable], b[usable]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    r = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(r, [tail, 1 - tail])
    return float(low), float(high)
