"""Kendall's tau-b and its exact permutation distribution, with ties."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

MONTE_CARLO = 99_999
_BATCH = 4_000  # permutations drawn at once, to limit memory


def concordance(x: np.ndarray, y: np.ndarray) -> int:
    """Number of concordant minus number of discordant pairs of the points (x, y), each (n,)."""
    return int((_signs(x) * _signs(y)).sum()) // 2


def tau_b(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b (Kendall 1945). NaN if `x` or `y` is constant."""
    pairs = [int(np.abs(_signs(side)).sum()) // 2 for side in (x, y)]
    scale = math.sqrt(pairs[0] * pairs[1])
    return concordance(x, y) / scale if scale else math.nan


def tau_p(x: np.ndarray, y: np.ndarray, *, exact: bool, seed: int) -> float:
    """Two-sided permutation p value of tau: the share of orders of `y` whose tau is at least as far from 0.

    The scale of tau-b is the same for every order, so |concordant - discordant| is compared. `exact` counts
    all orders; otherwise 99,999 orders are sampled.
    """
    observed = abs(concordance(x, y))
    if exact:
        counts = _distribution(_sizes(x), _sizes(y))
        far = sum(count for value, count in counts.items() if abs(value) >= observed)
        return far / sum(counts.values())
    random, signs = np.random.default_rng(seed), _signs(x)
    count, far = len(np.asarray(y)), 0
    for begin in range(0, MONTE_CARLO, _BATCH):
        size = min(_BATCH, MONTE_CARLO - begin)
        orders = random.permuted(np.tile(np.arange(count), (size, 1)), axis=1)
        shuffled = _signs(y)[orders[:, :, None], orders[:, None, :]]
        far += int((np.abs(np.einsum("ij,bij->b", signs, shuffled)) // 2 >= observed).sum())
    return (1 + far) / (1 + MONTE_CARLO)


def _signs(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return np.sign(values[:, None] - values[None, :]).astype(np.int64)


def _sizes(values: np.ndarray) -> tuple[int, ...]:
    """How often each distinct value occurs, in increasing order of the values."""
    return tuple(np.unique(np.asarray(values, dtype=np.float64), return_counts=True)[1].tolist())


@functools.lru_cache(maxsize=64)
def _distribution(x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]) -> dict[int, int]:
    """For each value of concordant - discordant, the number of ways to assign the y values to the x values.

    Only the ties matter: `x_sizes` and `y_sizes` (`_sizes`). Equal x values are one group, and groups are
    filled in order of x. The contribution of a group depends on the set of y values in the earlier groups,
    but not on their order. So sets of y values, as bit masks, replace orders: 2^n states instead of n!
    orders.
    """
    signs = _signs(np.repeat(np.arange(len(y_sizes)), y_sizes))  # signs[i, j] = sign(y_i - y_j)
    count = len(signs)
    states: dict[int, dict[int, int]] = {0: {0: 1}}
    for size in x_sizes:
        following: dict[int, dict[int, int]] = {}
        for mask, found in states.items():
            assigned = [i for i in range(count) if mask >> i & 1]
            free = [i for i in range(count) if not mask >> i & 1]
            gain = signs[:, assigned].sum(axis=1)
            for chosen in itertools.combinations(free, size):
                added = int(gain[list(chosen)].sum())
                target = following.setdefault(mask | sum(1 << i for i in chosen), {})
                for value, ways in found.items():
                    target[value + added] = target.get(value + added, 0) + ways
        states = following
    return states[(1 << count) - 1]
