"""The value of a cell, with its interval over initial states and, if there are several, training seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.hierarchical import two_level_bootstrap
from vlm4vla.analysis.intervals import bounded_mean, wilson
from vlm4vla.analysis.records import outcome
from vlm4vla.conventions.benchmarks import maximum

WILSON, CHAINS, TWO_LEVEL = "Wilson", "bounded mean over chains", "two-level bootstrap"


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


def estimate(records: pd.DataFrame, metric: str) -> Estimate | None:
    """The value of `metric` over the records of one cell. None for a cell without records.

    With one training seed, a rate has Wilson's interval and an average length has Gaffke's interval
    of a bounded mean over chains.
    With several seeds, both have the two-level bootstrap over seeds and, within each task, over initial
    states. Chains are not divided by task, because few chains have the same instructions. Each state enters
    with its mean over seeds. If a state is missing for a seed, it gets the mean of the other seeds.
    """
    if records.empty:
        return None
    frame = records.assign(outcome=outcome(records, metric))
    table = frame.pivot_table(index="seed", columns="episode", values="outcome", aggfunc="mean")
    states = table.mean(axis=0).to_numpy()
    seeds = frame.groupby("seed")["outcome"].mean().to_numpy()
    value = float(states.mean())
    if len(seeds) > 1:
        outcomes = np.where(table.isna(), states, table)
        tasks = None
        if metric == "success_rate":
            tasks = frame.drop_duplicates("episode").set_index("episode")["task"][table.columns].to_numpy()
        bounds = (0.0, maximum(frame["benchmark"].iloc[0], metric))
        low, high = two_level_bootstrap(outcomes, tasks, bounds=bounds)
        several = tasks is not None and len(set(tasks)) > 1
        wide = two_level_bootstrap(outcomes, tasks, new_tasks=True, bounds=bounds) if several else None
        sd = float(np.std(seeds, ddof=1))
        return Estimate(value, low, high, len(states), len(seeds), sd, TWO_LEVEL, wide)
    if metric == "average_length":
        low, high = bounded_mean(states, (0.0, maximum(frame["benchmark"].iloc[0], metric)))
    else:
        low, high = wilson(float(states.sum()), len(states))
    kind = CHAINS if metric == "average_length" else WILSON
    return Estimate(value, low, high, len(states), 1, None, kind)


def by_seed(records: pd.DataFrame, metric: str) -> dict[int, float]:
    """The value of `metric` for each training seed of one cell, by seed. Empty without records."""
    if records.empty:
        return {}
    means = records.assign(outcome=outcome(records, metric)).groupby("seed")["outcome"].mean()
    return {int(seed): float(value) for seed, value in means.items()}
