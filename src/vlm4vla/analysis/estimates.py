"""One cell's value with its interval: mean over training seeds, interval over initial states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import bootstrap_mean, wilson
from vlm4vla.analysis.records import outcome

METRICS = {
    "calvin": ("average_length", *(f"success_at_{count}" for count in range(1, 6))),
    "bridge": ("success_rate",),
    "libero-10": ("success_rate",),
}
MAXIMUM = {"average_length": 5.0, "success_rate": 1.0}


def score_metric(benchmark: str) -> str:
    """The one metric that stands for a benchmark: average length on chains, success rate elsewhere."""
    return METRICS[benchmark][0]


@dataclass(frozen=True)
class Estimate:
    """`episodes` counts initial states (each seed meets all of them); `seed_sd` needs two seeds."""

    value: float
    ci_low: float
    ci_high: float
    episodes: int
    seeds: int
    seed_sd: float | None


def estimate(records: pd.DataFrame, metric: str) -> Estimate | None:
    """The value of `metric` over one cell's records; None for a cell without records.

    A rate has Wilson's interval and an average length the bootstrap over chains. Several training seeds
    meet the same initial states, so they do not add to the number of independent trials: each state
    enters with its mean over seeds, which makes the interval, if anything, too wide. The spread between
    training seeds is not in the interval; it is `seed_sd`.
    """
    if records.empty:
        return None
    frame = records.assign(outcome=outcome(records, metric))
    states = frame.groupby("episode")["outcome"].mean().to_numpy()
    seeds = frame.groupby("seed")["outcome"].mean().to_numpy()
    value = float(states.mean())
    if metric == "average_length":
        low, high = bootstrap_mean(states)
    else:
        low, high = wilson(min(float(states.sum()), len(states)), len(states))
    sd = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    return Estimate(value, low, high, len(states), len(seeds), sd)


def by_seed(records: pd.DataFrame, metric: str) -> dict[int, float]:
    """The value of `metric` of each training seed in one cell's records, by seed; empty without records."""
    if records.empty:
        return {}
    means = records.assign(outcome=outcome(records, metric)).groupby("seed")["outcome"].mean()
    return {int(seed): float(value) for seed, value in means.items()}
