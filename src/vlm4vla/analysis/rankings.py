"""How the policies of a study stand over all its benchmarks together, each number with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import SEED, percentiles
from vlm4vla.analysis.records import outcome
from vlm4vla.analysis.rliable import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    ranks,
)
from vlm4vla.conventions.benchmarks import MAXIMUM, METRICS, score_metric

RESAMPLES = 2_000
THRESHOLDS = np.linspace(0, 0.95, 20)


@dataclass(frozen=True)
class Grid:
    """Outcomes of several policies on the initial states of one benchmark that all of them met.

    `values` (policies, seeds, states), nan for a seed that a policy was not trained with; `task` (states,).
    """

    benchmark: str
    values: np.ndarray
    task: np.ndarray

    @classmethod
    def of(cls, cells: Sequence[pd.DataFrame], benchmark: str) -> Grid | None:
        """The grid of `cells`, each the records of one policy; None where they share no state.

        States that a seed of one of the policies has not met are left out for all of them.
        """
        metric, frames = score_metric(benchmark), []
        for records in cells:
            frame = records.assign(outcome=outcome(records, metric))
            frames.append(frame.pivot(index="seed", columns="episode", values="outcome").dropna(axis=1))
        shared = sorted(set.intersection(*(set(frame.columns) for frame in frames))) if frames else []
        if not shared:
            return None
        most = max(len(frame) for frame in frames)
        values = np.full((len(frames), most, len(shared)), np.nan)
        for index, frame in enumerate(frames):
            values[index, : len(frame)] = frame[shared].to_numpy()
        named = cells[0].drop_duplicates("episode").set_index("episode")["task"]
        return cls(benchmark, values, named[shared].to_numpy())

    def scores(self, weights: np.ndarray | None = None, seeds: np.ndarray | None = None) -> np.ndarray:
        """Task scores of every policy in [0, 1], (policies, tasks), states weighted by `weights` (states,).

        A chain's tasks are its five rates, from one in a row to five: their mean is the average length over
        5. `seeds` (policies, seeds): how often each seed counts; None counts each once.
        """
        there = ~np.isnan(self.values[:, :, 0])
        counts = there.astype(float) if seeds is None else seeds * there
        weights = np.ones(self.values.shape[2]) if weights is None else weights
        share = counts / counts.sum(axis=1, keepdims=True)
        values = np.nan_to_num(self.values)
        if self.benchmark == "calvin":
            levels = range(1, len(METRICS["calvin"]))
            parts = [np.einsum("ps,psn,n->p", share, values >= level, weights) for level in levels]
            return np.stack(parts, axis=1) / weights.sum()
        by_state = np.einsum("ps,psn->pn", share, values)
        columns = []
        for task in dict.fromkeys(self.task.tolist()):
            own = self.task == task
            columns.append(by_state[:, own] @ weights[own] / weights[own].sum())
        return np.stack(columns, axis=1)

    def runs(self, policy: int) -> np.ndarray:
        """All outcomes of one policy, (seeds x states,)."""
        values = self.values[policy].ravel()
        return values[~np.isnan(values)]


@dataclass(frozen=True)
class Standing:
    """One policy over all benchmarks. Intervals are 95 % bootstrap percentiles.

    `iqm`: interquartile mean of its task scores; `improvement`: probability that one of its episodes does
    better than one of another policy, mean over the others and the benchmarks; `rank`: mean over benchmarks
    of its rank by score; `best`: share of resamples in which no policy has a better mean rank.
    """

    iqm: float
    iqm_ci: tuple[float, float]
    improvement: float | None
    improvement_ci: tuple[float, float] | tuple[None, None]
    rank: float
    rank_ci: tuple[float, float]
    best: float
    profile: tuple[float, ...]
    profile_low: tuple[float, ...]
    profile_high: tuple[float, ...]


def stand(grids: Mapping[str, Grid], resamples: int = RESAMPLES, seed: int = SEED) -> list[Standing]:
    """Standing of each policy of `grids` (by benchmark, the same policies in each), in their order.

    Initial states are resampled within their task (chains freely), the same for all policies; where a
    policy has several training seeds, these are resampled too. Empty without grids.
    """
    if not grids:
        return []
    policies = len(next(iter(grids.values())).values)
    random = np.random.default_rng(seed)
    scores, means, wins = [], [], []
    for draw in range(-1, resamples):  # -1: as measured
        parts, by_benchmark, better = [], [], []
        for name, grid in grids.items():
            weights, seeds = (None, None) if draw < 0 else _draw(grid, random)
            tasks = grid.scores(weights, seeds)
            parts.append(tasks)
            levels = _histogram(grid, weights, seeds)
            by_benchmark.append(levels @ np.arange(levels.shape[1]) / MAXIMUM[score_metric(name)])
            better.append(_improvement(levels))
        scores.append(np.concatenate(parts, axis=1))
        means.append(np.stack(by_benchmark))
        wins.append(np.mean(better, axis=0))
    scores, means, wins = map(np.array, (scores, means, wins))
    iqm = interquartile_mean(scores)  # (draws, policies)
    mean_ranks = ranks(np.round(means, 12)).mean(axis=1)
    profiles = performance_profile(scores, THRESHOLDS)  # (draws, policies, thresholds)
    first = mean_ranks[1:] == mean_ranks[1:].min(axis=1, keepdims=True)
    limits = np.quantile(profiles[1:], [0.025, 0.975], axis=0)
    alone = policies < 2
    return [
        Standing(
            iqm=float(iqm[0, policy]),
            iqm_ci=percentiles(iqm[1:, policy]),
            improvement=None if alone else float(wins[0, policy]),
            improvement_ci=(None, None) if alone else percentiles(wins[1:, policy]),
            rank=float(mean_ranks[0, policy]),
            rank_ci=percentiles(mean_ranks[1:, policy]),
            best=float(first[:, policy].mean()),
            profile=tuple(profiles[0, policy].tolist()),
            profile_low=tuple(limits[0, policy].tolist()),
            profile_high=tuple(limits[1, policy].tolist()),
        )
        for policy in range(policies)
    ]


def improvements(grids: Mapping[str, Grid]) -> np.ndarray:
    """(policies, policies): probability that an episode of the row's does better than one of the column's."""
    policies = len(next(iter(grids.values())).values)
    runs = [[grid.runs(policy) for grid in grids.values()] for policy in range(policies)]
    return np.array([[probability_of_improvement(one, other) for other in runs] for one in runs])


def _draw(grid: Grid, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each state (states,) and each policy's seeds (policies, seeds) are drawn."""
    task = np.zeros(len(grid.task), dtype=int)
    if grid.benchmark != "calvin":
        _, task = np.unique(grid.task, return_inverse=True)
    weights = np.zeros(len(task))
    for each in range(task.max() + 1):
        own = np.flatnonzero(task == each)
        weights[own] = np.bincount(random.integers(own.size, size=own.size), minlength=own.size)
    there = ~np.isnan(grid.values[:, :, 0])
    seeds = np.zeros(there.shape)
    for policy, count in enumerate(
        there.sum(axis=1)
    ):  # a policy's seeds come first, what is missing after them
        seeds[policy, :count] = random.multinomial(count, np.full(count, 1 / count))
    return weights, seeds


def _histogram(grid: Grid, weights: np.ndarray | None, seeds: np.ndarray | None) -> np.ndarray:
    """Share of each outcome 0, 1, ... among every policy's weighted episodes, (policies, outcomes)."""
    there = ~np.isnan(grid.values[:, :, 0])
    counts = there.astype(float) if seeds is None else seeds * there
    share = counts / counts.sum(axis=1, keepdims=True)
    weights = np.ones(grid.values.shape[2]) if weights is None else weights
    most = int(MAXIMUM[score_metric(grid.benchmark)])
    parts = [np.einsum("ps,psn,n->p", share, grid.values == level, weights) for level in range(most + 1)]
    return np.stack(parts, axis=1) / weights.sum()


def _improvement(levels: np.ndarray) -> np.ndarray:
    """(policies,): probability of improvement over another policy, mean over the others."""
    below = np.cumsum(levels, axis=1) - levels
    matrix = levels @ (below + 0.5 * levels).T
    others = max(1, len(levels) - 1)
    return (matrix.sum(axis=1) - np.diag(matrix)) / others
