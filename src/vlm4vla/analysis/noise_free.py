"""Pearson's r of the true scores behind two noisy ones: without the luck of questions and of rollouts.

Sampling noise pulls r towards 0. Resampling the scores would add the noise a second time. So the noise, whose
size is known, is taken out: which correlations of the true scores could have given the observed r?
"""

from __future__ import annotations

import numpy as np

from vlm4vla.analysis.correlation import is_defined, pearson
from vlm4vla.analysis.correlation_intervals import LEAST_POINTS, Interval
from vlm4vla.analysis.intervals import LEVEL, SEED

DRAWS = 4_000
STEPS = 101  # correlations that are tried, from -1 to 1


def noise_free_interval(
    x: np.ndarray,
    y: np.ndarray,
    x_variance: float,
    y_variance: float,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Interval:
    """Interval of the correlation of the true scores of these points, from observed `x` (n,) and `y` (n,).

    `x_variance` and `y_variance`: the variance of the noise in one score, the mean over points. Noise that
    all points share shifts all scores alike and does not count. The interval holds each correlation for which
    the observed r is not extreme in simulated observations (hybrid resampling, Chuang and Lai 2000). Their
    true scores have this correlation, and the spread that is left when the noise is taken out of the observed
    spread. If the noise explains the whole spread of a score, or if no correlation explains r, every
    correlation is possible. (None, None) below four points, or if a score is constant.
    """
    if len(x) < LEAST_POINTS or not is_defined(x, y):
        return None, None
    freedom = len(x) - 1
    spread = [
        max(0.0, float(np.var(side, ddof=1)) - variance) / variance if variance > 0 else None
        for side, variance in ((x, x_variance), (y, y_variance))
    ]
    if 0.0 in spread:
        return -1.0, 1.0
    # Only the components along the true scores of x, across them, and the rest matter, in n - 1 dimensions.
    a, b = np.random.default_rng(seed).standard_normal((2, draws, freedom))
    tried = np.linspace(-1.0, 1.0, STEPS)
    across = np.sqrt(1 - tried**2)
    # The length of the true scores in units of the noise; without noise, the noise is 0 and the length 1.
    lengths = [1.0 if each is None else float(np.sqrt(freedom * each)) for each in spread]
    a, b = (side * (each is not None) for side, each in zip((a, b), spread, strict=True))
    p, q = lengths
    of_x = p**2 + 2 * p * a[:, :1] + (a**2).sum(axis=1, keepdims=True)
    of_y = q**2 + 2 * q * (b[:, :1] * tried + b[:, 1:2] * across) + (b**2).sum(axis=1, keepdims=True)
    both = p * q * tried + p * b[:, :1] + q * (a[:, :1] * tried + a[:, 1:2] * across)
    r = (both + (a * b).sum(axis=1, keepdims=True)) / np.sqrt(of_x * of_y)
    observed = pearson(x, y)
    tail = (1 - level) / 2
    enough = ((r <= observed + 1e-9).mean(axis=0) >= tail) & ((r >= observed - 1e-9).mean(axis=0) >= tail)
    possible = np.flatnonzero(enough)
    if not len(possible):
        if spread != [None, None]:
            return -1.0, 1.0
        # Without noise, r lies between two of the tried values.
        possible = np.array([int(np.abs(tried - observed).argmin())])
    # One step further on each side, so that the steps cost no coverage.
    return float(tried[max(possible[0] - 1, 0)]), float(tried[min(possible[-1] + 1, STEPS - 1)])


def shared_noise_variance(by_state: np.ndarray, tasks: np.ndarray | None = None) -> float:
    """The noise variance of the mean of each column of `by_state` (states, policies), without what is shared.

    All policies start from the same states, so the luck of easy states is common to all of them. What is left
    is the interaction of states and policies, within tasks if `tasks` (states,) are given. 0 for one state.
    """
    values = np.asarray(by_state, dtype=np.float64)
    values = values - values.mean(axis=1, keepdims=True)
    states, policies = values.shape
    task = np.zeros(states, dtype=int) if tasks is None else np.unique(tasks, return_inverse=True)[1]
    counts = np.bincount(task)
    if counts.min(initial=2) < 2:  # a task with one state has no spread of its own
        task, counts = np.zeros(states, dtype=int), np.array([states])
    if states < 2 or policies < 2:
        return 0.0
    means = np.stack([np.bincount(task, column) / counts for column in values.T], axis=1)
    squares = np.bincount(task, ((values - means[task]) ** 2).sum(axis=1))
    by_task = squares / ((counts - 1) * (policies - 1))
    return float((counts * by_task).sum()) / states**2
