"""The value of a cell, with its interval over initial states and, if there are several, training seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.hierarchical import two_level_bootstrap
from vlm4vla.analysis.intervals import bounded_mean, wilson
from vlm4vla.analysis.records import outcome
from vlm4vla.analysis.seed_spread import SeedSpread, mean_interval
from vlm4vla.analysis.stopped import common_states, interval_level
from vlm4vla.conventions.benchmarks import maximum

WILSON, CHAINS, TWO_LEVEL = "Wilson", "bounded mean over chains", "seeds and states"


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    `episodes`: the number of initial states; each seed is evaluated on all of them. `seed_sd`: standard
    deviation over training seeds, None for one seed. `interval`: the kind of interval. `new_tasks_ci`: the
    wider interval that also resamples tasks, and so is about other tasks of the same kind. It is None for one
    seed, for chains and for a single task.
    """

    value: float
    ci_low: float
    ci_high: float
    episodes: int
    seeds: int
    seed_sd: float | None
    interval: str
    new_tasks_ci: tuple[float, float] | None = None


def estimate(records: pd.DataFrame, metric: str, spread: SeedSpread | None = None) -> Estimate | None:
    """The value of `metric` over the records of one cell. None for a cell without records.

    With one training seed, a rate has Wilson's interval and an average length has Gaffke's interval
    of a bounded mean over chains.
    With several seeds, both have the interval of `seed_spread.mean_interval` over seeds and, within each
    task, over initial states. `spread`: how far apart the seeds are, pooled over the policies of a table; by
    default, of this cell alone. Chains are not divided by task, because few chains have the same
    instructions. Each state enters with its mean over seeds. If a state is missing for a seed, it gets the
    mean of the other seeds.

    After rollouts that could stop early, only the states that all seeds have count, and the interval has the
    level of `stopped.interval_level`.
    """
    if records.empty:
        return None
    records, level = common_states(records), interval_level(records)
    frame = records.assign(outcome=outcome(records, metric))
    table = frame.pivot(index="seed", columns="episode", values="outcome")
    states = table.mean(axis=0).to_numpy()
    seeds = frame.groupby("seed")["outcome"].mean().to_numpy()
    value = float(states.mean())
    if len(seeds) > 1:
        outcomes = np.where(table.isna(), states, table)
        tasks = None
        if metric == "success_rate":
            tasks = frame.drop_duplicates("episode").set_index("episode")["task"][table.columns].to_numpy()
        bounds = (0.0, maximum(frame["benchmark"].iloc[0], metric))
        task = np.zeros(len(states), dtype=int) if tasks is None else np.unique(tasks, return_inverse=True)[1]
        low, high = mean_interval(outcomes, task, spread, bounds[1], level)
        several = tasks is not None and len(set(tasks)) > 1
        wide = None
        if several:
            wide = two_level_bootstrap(outcomes, tasks, new_tasks=True, bounds=bounds, level=level)
            wide = min(low, wide[0]), max(high, wide[1])
        sd = float(np.std(seeds, ddof=1))
        return Estimate(value, low, high, len(states), len(seeds), sd, TWO_LEVEL, wide)
    if metric == "average_length":
        low, high = bounded_mean(states, (0.0, maximum(frame["benchmark"].iloc[0], metric)), level)
    else:
        low, high = wilson(float(states.sum()), len(states), level)
    kind = CHAINS if metric == "average_length" else WILSON
    return Estimate(value, low, high, len(states), 1, None, kind)


def by_seed(records: pd.DataFrame, metric: str) -> dict[int, float]:
    """The value of `metric` for each training seed of one cell, by seed. Empty without records."""
    if records.empty:
        return {}
    means = records.assign(outcome=outcome(records, metric)).groupby("seed")["outcome"].mean()
    return {int(seed): float(value) for seed, value in means.items()}
