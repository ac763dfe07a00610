"""Intervals for several training seeds: a bootstrap over seeds and over initial states within tasks."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import stats

from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED, bounded_limits, bounded_mean


def two_level_bootstrap(
    outcomes: np.ndarray,
    tasks: np.ndarray | None = None,
    *,
    new_tasks: bool = False,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Interval of the mean of `outcomes` (seeds, states), for two or more training seeds.

    Every seed is evaluated on every state. So seeds and states are resampled independently, both with
    replacement, and their deviations from the mean are added. A state enters with its mean over the seeds and
    is resampled within its task. `tasks` (states,): the task of each state; None is a single task. With
    `new_tasks`, whole tasks are resampled instead of states. The interval is then about other tasks of the
    same kind, and otherwise about the tasks of the benchmark.

    Plain resampling of few seeds has two errors. Both are corrected as in a crossed analysis of variance.
    First, the mean of a seed also varies with its luck on the states, which the resampled states already
    contain. So the deviations of the seeds are shrunk to the remaining part. Second, few seeds underestimate
    their spread. So the deviations of the seeds are stretched by sqrt(S / (S - 1)) for S seeds (Davison and
    Hinkley 1997, section 2.7), and the sum by the ratio of Student's t quantile to the normal quantile
    (Hesterberg 2015, "What teachers should know about the bootstrap", section 4.3), with Satterthwaite's
    degrees of freedom (1946).

    `bounds`: the smallest and largest possible outcome. The resampled means are clipped to them. Then one
    more state at each bound in turn joins the states, as in `intervals.bounded_mean`. So the interval of
    outcomes that are all 0 is not a point: with n states, its upper limit is that of Clopper and Pearson for
    0 of n. It cannot know of seeds that would differ from all the given seeds. With `new_tasks`, the interval
    also contains that of `bounded_mean` over the means of the tasks.

    Raises ValueError for fewer than two seeds, no states, a missing outcome (NaN), or a number of tasks other
    than the number of states.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    if outcomes.ndim != 2 or outcomes.shape[0] < 2 or outcomes.shape[1] == 0:
        raise ValueError(f"outcomes have the shape {outcomes.shape}: pass (2 or more seeds, states)")
    if np.isnan(outcomes).any():
        raise ValueError("an outcome is missing")
    states = outcomes.shape[1]
    names = np.zeros(states, dtype=int) if tasks is None else np.asarray(tasks)
    if names.shape != (states,):
        raise ValueError(f"tasks have the shape {names.shape}: pass one task for each of {states} states")
    _, task = np.unique(names, return_inverse=True)
    drawn = _two_level_means(outcomes, task, new_tasks, level, resamples, seed)
    low, high = bounded_limits(np.clip(drawn, *bounds), states, bounds, level)
    if new_tasks:
        of_tasks = np.clip(np.bincount(task, outcomes.mean(axis=0)) / np.bincount(task), *bounds)
        tasks_low, tasks_high = bounded_mean(of_tasks, bounds, level, resamples, seed)
        low, high = min(low, tasks_low), max(high, tasks_high)
    return low, high


def _two_level_means(
    outcomes: np.ndarray, task: np.ndarray, new_tasks: bool, level: float, resamples: int, seed: int
) -> np.ndarray:
    """The resampled and stretched means (resamples,) of `two_level_bootstrap`, without its bounds."""
    seeds, states = outcomes.shape
    by_seed, by_state = outcomes.mean(axis=1), outcomes.mean(axis=0)
    mean = by_state.mean()
    share, freedom = _components(outcomes, task, new_tasks)
    random = np.random.default_rng([seed, seeds])
    drawn = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    deviations = share * math.sqrt(seeds / (seeds - 1)) * (drawn @ (by_seed - mean))
    sizes = tuple(np.bincount(task).tolist())
    order = np.argsort(task, kind="stable")
    if new_tasks:
        count = len(sizes)
        times = random.multinomial(count, np.full(count, 1 / count), size=resamples)
        totals = np.bincount(task, by_state - mean)
        stretch = math.sqrt(count / (count - 1)) if count > 1 else 1.0
        deviations += stretch * (times @ totals) / (times @ np.array(sizes))
    else:
        deviations += _state_counts(sizes, resamples, seed) @ (by_state[order] - mean) / states
    deviations *= stats.t.isf((1 - level) / 2, freedom) / stats.norm.isf((1 - level) / 2)
    return np.asarray(mean + deviations)


def _components(outcomes: np.ndarray, task: np.ndarray, new_tasks: bool) -> tuple[float, float]:
    """The share of the seeds' deviations that is not luck on the states, and the mean's degrees of freedom.

    In a two-way random layout, the variance of the mean is (MS of seeds - MS of residual + MS of states) /
    (S N), with mean squares MS, S seeds and N states. A negative difference of the first two counts as 0.
    Satterthwaite's formula gives the degrees of freedom.
    """
    seeds, states = outcomes.shape
    by_seed, by_state = outcomes.mean(axis=1), outcomes.mean(axis=0)
    counts = np.bincount(task)
    task_means = np.bincount(task, by_state) / counts
    of_seeds = states * by_seed.var(ddof=1)
    residual = 0.0
    if states > 1:
        rest = outcomes - by_seed[:, None] - by_state + by_state.mean()
        residual = float((rest**2).sum()) / ((seeds - 1) * (states - 1))
    if new_tasks:
        state_freedom = len(counts) - 1
        spread = counts * (task_means - by_state.mean()) ** 2
    else:
        state_freedom = states - len(counts)
        spread = (by_state - task_means[task]) ** 2
    of_states = seeds * float(spread.sum()) / state_freedom if state_freedom else 0.0
    parts = [(of_states, state_freedom)] if state_freedom else []
    extra = of_seeds - residual
    if extra > 0:
        parts += [(of_seeds, seeds - 1)] + [(residual, (seeds - 1) * (states - 1))] * (states > 1)
    variance = max(extra, 0.0) + of_states
    doubt = sum(square**2 / freedom for square, freedom in parts)
    least = min((freedom for _, freedom in parts), default=1)
    freedom = max(float(least), variance**2 / doubt) if doubt > 0 else math.inf
    return math.sqrt(max(extra, 0.0) / of_seeds) if of_seeds > 0 else 0.0, freedom


@lru_cache(maxsize=8)
def _state_counts(sizes: tuple[int, ...], resamples: int, seed: int) -> np.ndarray:
    """How often each state is drawn, (resamples, states). The states are ordered by task, of `sizes` states.

    The result is cached, because all cells of a benchmark share its tasks and states.
    """
    random = np.random.default_rng(seed)
    parts = [random.multinomial(size, np.full(size, 1 / size), size=resamples) for size in sizes]
    counts = np.concatenate(parts, axis=1).astype(np.float32)  # matrix products of integers are slow
    counts.setflags(write=False)
    return counts
