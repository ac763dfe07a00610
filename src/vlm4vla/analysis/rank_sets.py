"""Confidence sets of ranks: the ranks that the paired tests of all pairs of policies leave open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import sign_flip

SIGNIFICANCE = 0.05
LARGEST_SCALE = 60  # common denominator of means over up to six training seeds


def rank_sets(better: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rank of each policy, (policies,) each.

    `better` (policies, policies): whether the row was shown to be better than the column. The lowest rank is
    1 plus the number of policies shown to be better, and the highest rank is the number of policies not shown
    to be worse. If no pair is shown wrongly, all sets contain the true ranks. So with tests that hold their
    level over all pairs, all sets together are valid at that level (Mogstad, Romano, Shaikh and Wilhelm 2024,
    "Inference for Ranks with Applications to Mobility across Neighbourhoods and Academic Achievement across
    Countries").
    """
    better = np.asarray(better, dtype=bool)
    return 1.0 + better.sum(axis=0), float(len(better)) - better.sum(axis=1)


def shown_better(outcomes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each benchmark, whether the row was shown to be better than the column, (policies, policies).

    `outcomes`: for each benchmark, (policies, initial states), with the same policies. Pairs are compared by
    exact paired tests. Holm's correction covers the pairs of all benchmarks at the 5 % level. The tests treat
    the trained policies as fixed.
    """
    tests = []
    for number, each in enumerate(outcomes):
        p, difference = _pairs(_whole(np.asarray(each, dtype=np.float64)))
        above = np.triu_indices(len(p), 1)
        tests += [(number, i, j, p[i, j], difference[i, j]) for i, j in zip(*above, strict=True)]
    found = [np.zeros((len(each), len(each)), dtype=bool) for each in outcomes]
    for (number, i, j, _, difference), p in zip(tests, holm([test[3] for test in tests]), strict=True):
        if p is not None and p < SIGNIFICANCE:
            found[number][(i, j) if difference > 0 else (j, i)] = True
    return found


def _whole(outcomes: np.ndarray) -> np.ndarray:
    """`outcomes` times a common denominator. Other numbers are rounded to a sixtieth of the largest."""
    for scale in range(1, LARGEST_SCALE + 1):
        scaled = outcomes * scale
        if np.allclose(scaled, scaled.round(), rtol=0, atol=1e-6):
            return scaled.round().astype(np.int64)
    return (outcomes * (LARGEST_SCALE / np.abs(outcomes).max())).round().astype(np.int64)


def _pairs(whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p values and summed differences of all pairs of rows, (policies, policies) each."""
    total = whole.sum(axis=1)
    difference = total[:, None] - total[None, :]
    if np.ptp(whole) <= 1:  # McNemar's test, for all pairs at once
        low = whole - whole.min()
        wins = low @ (1 - low).T
        p = 2 * stats.binom.cdf(np.minimum(wins, wins.T), wins + wins.T, 0.5)
        return np.minimum(1.0, p), difference
    p = np.ones(difference.shape)
    for i, j in zip(*np.triu_indices(len(whole), 1), strict=True):
        p[i, j] = p[j, i] = sign_flip(whole[i] - whole[j])
    return p, difference
