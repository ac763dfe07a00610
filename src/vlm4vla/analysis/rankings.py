"""Rankings of policies, on one benchmark and over all benchmarks of a study, with confidence sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import SEED, percentiles
from vlm4vla.analysis.rank_sets import rank_sets, shown_better
from vlm4vla.analysis.records import outcome
from vlm4vla.analysis.rliable import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    rank_scores,
)
from vlm4vla.conventions.benchmarks import facts, maximum, score_metric

RANK_RESAMPLES = 4_000  # on one benchmark
RESAMPLES = 2_000  # over all benchmarks
THRESHOLDS = np.linspace(0, 0.95, 20)  # of performance profiles


@dataclass(frozen=True)
class Rank:
    """The rank of a model on one benchmark.

    `place`: 1 is the best; ties share the mean of their places. `ci_low`, `ci_high`: the ends of the 95 %
    confidence set (see `rank_sets`). `best`: the share of resamples of the initial states in which the model
    is first. A tie for the first place counts in parts.
    """

    place: float
    ci_low: float
    ci_high: float
    best: float


def rank_models(
    outcomes: np.ndarray,
    resamples: int = RANK_RESAMPLES,
    seed: int = SEED,
    better: np.ndarray | None = None,
) -> list[Rank]:
    """One Rank for each row of `outcomes` (models, initial states). A larger mean is better.

    `better` (models, models): whether the row was shown to be better than the column; by default, exact
    paired tests with Holm's correction show it (`shown_better`). All confidence sets together are valid at
    95 %. A percentile interval of resampled ranks is not: the true best of ten similar models is outside in a
    third of all studies. The same resampled initial states are used for all models. Raises ValueError if
    there is no model or no state.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    if outcomes.ndim != 2 or 0 in outcomes.shape:
        raise ValueError(f"outcomes have the shape {outcomes.shape}: pass (models, initial states)")
    states = outcomes.shape[1]
    counts = np.random.default_rng(seed).multinomial(states, np.full(states, 1 / states), size=resamples)
    means = (counts @ outcomes.T / states).round(12)  # the order of summation must not break ties
    best = _first(means)
    place = rank_scores(outcomes.mean(axis=1).round(12))
    low, high = _include(rank_sets(shown_better([outcomes])[0] if better is None else better), place)
    return [Rank(*map(float, each)) for each in zip(place, low, high, best, strict=True)]


def _first(scores: np.ndarray) -> np.ndarray:
    """(policies,): the share of draws in which a policy has the largest of `scores` (draws, policies).

    Policies that are equal share the draw.
    """
    first = scores == scores.max(axis=1, keepdims=True)
    return (first / first.sum(axis=1, keepdims=True)).mean(axis=0)


def _include(ends: tuple[np.ndarray, np.ndarray], place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widen the sets to `place`. Pairs may share more states than all policies do, and so differ from it."""
    return np.minimum(ends[0], place), np.maximum(ends[1], place)


def ranks_on_benchmark(
    records: pd.DataFrame,
    policies: Sequence[tuple[str, str]],
    benchmark: str,
    metric: str,
    better: Collection[tuple[tuple[str, str], tuple[str, str]]] | None = None,
) -> dict[tuple[str, str], Rank]:
    """Ranks of those `policies` (model, variant) that have records on `benchmark`.

    Only initial states that all these policies share are used. Each state enters with its mean over training
    seeds. `better`: the pairs (better policy, worse policy) that the table's tests decide; by default, the
    pairs are tested here. Empty if there are no policies or no shared states.
    """
    own = records[(records["benchmark"] == benchmark) & (records["auxiliary"] == "none")]
    if own.empty:
        return {}
    wide = (
        own.assign(outcome=outcome(own, metric))
        .pivot_table(index=["model", "variant"], columns="episode", values="outcome", aggfunc="mean")
        .reindex(
            [policy for policy in policies if policy in set(zip(own["model"], own["variant"], strict=True))]
        )
        .dropna(axis=1)
    )
    if 0 in wide.shape:
        return {}
    shown = None if better is None else better_matrix(list(wide.index), better)
    return dict(zip(wide.index, rank_models(wide.to_numpy(), better=shown), strict=True))


def better_matrix(
    policies: Sequence[tuple[str, str]], better: Collection[tuple[tuple[str, str], tuple[str, str]]]
) -> np.ndarray:
    """(policies, policies): whether (row, column) is one of the pairs `better`."""
    return np.array([[(one, other) in better for other in policies] for one in policies], dtype=bool)


@dataclass(frozen=True)
class Grid:
    """Outcomes of several policies on the initial states of one benchmark that all policies share.

    `values`: (policies, seeds, states), NaN for a seed that a policy was not trained with. `task`: (states,).
    """

    benchmark: str
    values: np.ndarray
    task: np.ndarray

    @classmethod
    def from_cells(cls, cells: Sequence[pd.DataFrame], benchmark: str) -> Grid | None:
        """The grid of `cells`, each the records of one policy. None if the policies share no state.

        A state that is missing for a seed of any policy is left out for all policies.
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
        """Task scores (policies, tasks), from 0 to 1, of every policy.

        The tasks of a chain are its success rates from one to five instructions in a row. Their mean is the
        average length divided by 5. `weights` (states,): the weights of the states. `seeds` (policies,
        seeds): how often each seed counts; None counts each seed once.
        """
        trained = ~np.isnan(self.values[:, :, 0])
        counts = trained.astype(float) if seeds is None else seeds * trained
        weights = np.ones(self.values.shape[2]) if weights is None else weights
        share = counts / counts.sum(axis=1, keepdims=True)
        values = np.nan_to_num(self.values)
        if facts(self.benchmark).is_chain:
            levels = range(1, facts(self.benchmark).instructions_per_episode + 1)
            parts = [np.einsum("ps,psn,n->p", share, values >= level, weights) for level in levels]
            return np.stack(parts, axis=1) / weights.sum()
        by_state = np.einsum("ps,psn->pn", share, values)
        columns = []
        for task in dict.fromkeys(self.task.tolist()):
            own = self.task == task
            columns.append(by_state[:, own] @ weights[own] / weights[own].sum())
        return np.stack(columns, axis=1)

    def runs(self, policy: int) -> np.ndarray:
        """All outcomes of one policy: (seeds x states,)."""
        values = self.values[policy].ravel()
        return values[~np.isnan(values)]


@dataclass(frozen=True)
class Ranking:
    """The results of one policy over all benchmarks. Intervals are 95 % bootstrap percentiles.

    `iqm`: interquartile mean of the task scores. `improvement`: probability that an episode of the policy
    scores higher than an episode of another policy, averaged over the other policies and the benchmarks.
    `rank`: the rank by score, averaged over benchmarks; `rank_ci`: its 95 % confidence set (see `rank_sets`),
    not a percentile interval. `best`: the share of resamples in which the policy has the best mean rank. A
    tie counts in parts. `profile`: performance profile at `THRESHOLDS`, with the limits of its intervals.
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


def rank_over_benchmarks(
    grids: Mapping[str, Grid],
    resamples: int = RESAMPLES,
    seed: int = SEED,
    better: Mapping[str, np.ndarray] | None = None,
) -> list[Ranking]:
    """One Ranking for each policy of `grids`, in their order.

    `grids`: a grid for each benchmark, with the same policies in each. Initial states are resampled within
    their task, or freely for chains, and are the same for all policies. The training seeds of a policy with
    several seeds are resampled, too. `better`: for each benchmark, whether the row was shown to be better
    than the column, (policies, policies), at a level that holds over all pairs and benchmarks; by default,
    `shown_better` tests the means over seeds. Empty if there are no grids.
    """
    if not grids:
        return []
    policies = len(next(iter(grids.values())).values)
    random = np.random.default_rng(seed)
    scores, means, wins = [], [], []
    for draw in range(-1, resamples):  # draw -1 is the measured data
        parts, by_benchmark, improved = [], [], []
        for name, grid in grids.items():
            weights, seeds = (None, None) if draw < 0 else _draw(grid, random)
            tasks = grid.scores(weights, seeds)
            parts.append(tasks)
            levels = _histogram(grid, weights, seeds)
            by_benchmark.append(levels @ np.arange(levels.shape[1]) / maximum(name, score_metric(name)))
            improved.append(_improvement(levels))
        scores.append(np.concatenate(parts, axis=1))
        means.append(np.stack(by_benchmark))
        wins.append(np.mean(improved, axis=0))
    scores, means, wins = map(np.array, (scores, means, wins))
    iqm = interquartile_mean(scores)  # (draws, policies)
    mean_ranks = rank_scores(np.round(means, 12)).mean(axis=1)
    profiles = performance_profile(scores, THRESHOLDS)  # (draws, policies, thresholds)
    best = _first(-mean_ranks[1:])
    if better is None:
        shown = shown_better([np.nanmean(grid.values, axis=1) for grid in grids.values()])
    else:
        shown = [better[name] for name in grids]
    ends = _include(np.mean([rank_sets(each) for each in shown], axis=0), mean_ranks[0])
    limits = np.quantile(profiles[1:], [0.025, 0.975], axis=0)
    alone = policies < 2
    return [
        Ranking(
            iqm=float(iqm[0, policy]),
            iqm_ci=percentiles(iqm[1:, policy]),
            improvement=None if alone else float(wins[0, policy]),
            improvement_ci=(None, None) if alone else percentiles(wins[1:, policy]),
            rank=float(mean_ranks[0, policy]),
            rank_ci=(float(ends[0][policy]), float(ends[1][policy])),
            best=float(best[policy]),
            profile=tuple(profiles[0, policy].tolist()),
            profile_low=tuple(limits[0, policy].tolist()),
            profile_high=tuple(limits[1, policy].tolist()),
        )
        for policy in range(policies)
    ]


def improvement_matrix(grids: Mapping[str, Grid]) -> np.ndarray:
    """(policies, policies): probability that an episode of the row scores higher than one of the column."""
    policies = len(next(iter(grids.values())).values)
    runs = [[grid.runs(policy) for grid in grids.values()] for policy in range(policies)]
    return np.array([[probability_of_improvement(one, other) for other in runs] for one in runs])


def _draw(grid: Grid, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each state is drawn, (states,), and each seed of each policy, (policies, seeds)."""
    task = np.zeros(len(grid.task), dtype=int)
    if not facts(grid.benchmark).is_chain:
        _, task = np.unique(grid.task, return_inverse=True)
    weights = np.zeros(len(task))
    for each in range(task.max() + 1):
        own = np.flatnonzero(task == each)
        weights[own] = np.bincount(random.integers(own.size, size=own.size), minlength=own.size)
    trained = ~np.isnan(grid.values[:, :, 0])
    seeds = np.zeros(trained.shape)
    for policy, count in enumerate(trained.sum(axis=1)):  # missing seeds come last in a grid
        seeds[policy, :count] = random.multinomial(count, np.full(count, 1 / count))
    return weights, seeds


def _histogram(grid: Grid, weights: np.ndarray | None, seeds: np.ndarray | None) -> np.ndarray:
    """(policies, outcomes): the share of each outcome 0, 1, ... in the weighted episodes of each policy."""
    trained = ~np.isnan(grid.values[:, :, 0])
    counts = trained.astype(float) if seeds is None else seeds * trained
    share = counts / counts.sum(axis=1, keepdims=True)
    weights = np.ones(grid.values.shape[2]) if weights is None else weights
    most = facts(grid.benchmark).instructions_per_episode
    parts = [np.einsum("ps,psn,n->p", share, grid.values == level, weights) for level in range(most + 1)]
    return np.stack(parts, axis=1) / weights.sum()


def _improvement(levels: np.ndarray) -> np.ndarray:
    """(policies,): probability of improvement over another policy, averaged over the other policies."""
    below = np.cumsum(levels, axis=1) - levels
    matrix = levels @ (below + 0.5 * levels).T
    others = max(1, len(levels) - 1)
    return (matrix.sum(axis=1) - np.diag(matrix)) / others
