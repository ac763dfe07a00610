"""One cell: its value, and its interval over initial states and, with several, training seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.hierarchical import two_level_bootstrap
from vlm4vla.analysis.intervals import bootstrap_mean, wilson
from vlm4vla.analysis.records import outcome
from vlm4vla.conventions.benchmarks import MAXIMUM

WILSON, CHAINS, TWO_LEVEL = "Wilson", "bootstrap over chains", "two-level bootstrap"


@dataclass(frozen=True)
class Estimate:
    """`episodes` counts initial states (each seed meets all of them); `seed_sd` needs two seeds.

    `interval` is the kind of interval. `new_tasks_ci`: the wider one of a benchmark with other tasks of the
    kind, where tasks are resampled too; None for one seed, for chains and for a single task.
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
    """The value of `metric` over one cell's records; None for a cell without records.

    With one training seed a rate has Wilson's interval and an average length the bootstrap over chains. With
    several, the two-level bootstrap over seeds and, within each task, initial states (chains are not split
    by task: hardly two hold the same five instructions). Each state enters with its mean over seeds; where a
    seed lacks a state, the others' mean stands in for it.
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
        bounds = (0.0, MAXIMUM.get(metric, 1.0))
        low, high = two_level_bootstrap(outcomes, tasks, bounds=bounds)
        several = tasks is not None and len(set(tasks)) > 1
        wide = two_level_bootstrap(outcomes, tasks, new_tasks=True, bounds=bounds) if several else None
        sd = float(np.std(seeds, ddof=1))
        return Estimate(value, low, high, len(states), len(seeds), sd, TWO_LEVEL, wide)
    if metric == "average_length":
        low, high = bootstrap_mean(states)
    else:
        low, high = wilson(float(states.sum()), len(states))
    kind = CHAINS if metric == "average_length" else WILSON
    return Estimate(value, low, high, len(states), 1, None, kind)


def by_seed(records: pd.DataFrame, metric: str) -> dict[int, float]:
    """The value of `metric` of each training seed in one cell's records, by seed; empty without records."""
    if records.empty:
        return {}
    means = records.assign(outcome=outcome(records, metric)).groupby("seed")["outcome"].mean()
    return {int(seed): float(value) for seed, value in means.items()}
