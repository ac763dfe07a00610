"""Means of two independent samples: permutation test and bootstrap interval of the difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED

PERMUTATIONS = 99_999
_BATCH = 5_000  # permutations drawn at once, for memory
_TIE = 1e-12


@dataclass(frozen=True)
class UnpairedMeans:
    """First minus second mean; `p_value` is two-sided."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str = "permutation"


def compare_samples(
    first: np.ndarray, second: np.ndarray, level: float = LEVEL, seed: int = SEED
) -> UnpairedMeans:
    """Compare `first` (n,) and `second` (m,), drawn independently of each other.

    p: share of random regroupings whose means differ at least as much, the observed one counted (Phipson and
    Smyth 2010), so it is valid and never 0. Raises ValueError for an empty side.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not (first.size and second.size):
        raise ValueError("a side is empty")
    random = np.random.default_rng(seed)
    difference = first.mean() - second.mean()
    everything = np.sort(np.concatenate([first, second]))  # the order of episodes must not matter
    total, n, m = everything.sum(), first.size, second.size
    # regrouping values is drawing how many of each distinct value the first group gets
    distinct, counts = np.unique(everything, return_counts=True)
    far = 0
    for begin in range(0, PERMUTATIONS, _BATCH):
        draws = min(_BATCH, PERMUTATIONS - begin)
        if len(distinct) == 1:
            far += draws
            continue
        sums = random.multivariate_hypergeometric(counts, n, size=draws, method="marginals") @ distinct
        far += int((np.abs(sums / n - (total - sums) / m) >= abs(difference) - _TIE).sum())
    resampled = _resampled(first, random) - _resampled(second, random)
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return UnpairedMeans(float(difference), float(low), float(high), (1 + far) / (1 + PERMUTATIONS))


def _resampled(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(RESAMPLES,) means of values drawn again with replacement."""
    distinct, counts = np.unique(values, return_counts=True)
    return random.multinomial(values.size, counts / values.size, size=RESAMPLES) @ distinct / values.size
