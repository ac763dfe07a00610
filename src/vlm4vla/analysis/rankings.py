"""Rankings of policies, on one benchmark and over all benchmarks of a study, with confidence sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import SEED, bounded_limits
from vlm4vla.analysis.rank_sets import rank_sets, shown_better
from vlm4vla.analysis.records import cell_records, outcome
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
    confidence set (see `rank_sets`). `best`: the share of resamples of the initial states, and of several
    training seeds, in which the model is first. A tie for the first place counts in parts.
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
    task: np.ndarray | None = None,
) -> list[Rank]:
    """One Rank for each row of `outcomes`. A larger mean is better.

    `outcomes`: (models, initial states), or (models, seeds, initial states) with NaN for a training seed that
    a model does not have. `better` (models, models): whether the row was shown to be better than the column;
    by default, exact paired tests with Holm's correction show it (`shown_better`). All confidence sets
    together are valid at 95 %. A percentile interval of resampled ranks is not: the true best of ten similar
    models is outside in a third of all studies. The same initial states are resampled for all models, within
    their `task` (states,) if it is given. The seeds of a model that has several are resampled, too. Raises
    ValueError if there is no model or no state.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    if outcomes.ndim not in (2, 3) or 0 in outcomes.shape:
        raise ValueError(f"outcomes have the shape {outcomes.shape}: pass (models, initial states)")
    values = outcomes[:, None] if outcomes.ndim == 2 else outcomes
    task = np.zeros(values.shape[2], dtype=int) if task is None else task
    weights, chosen = _draws(values, task, resamples, np.random.default_rng(seed))
    by_seed = np.moveaxis(values @ weights.T, -1, 0) / values.shape[2]  # (draws, models, seeds)
    # Rounded, because the order of summation must not break ties.
    means = np.nanmean(np.take_along_axis(by_seed, chosen, axis=2), axis=2).round(12)
    place = rank_scores(means[0])
    if better is None:
        better = shown_better([np.nanmean(values, axis=1)])[0]
    low, high = _include(rank_sets(better), place)
    return [Rank(*map(float, each)) for each in zip(place, low, high, _first(means[1:]), strict=True)]


def _first(scores: np.ndarray) -> np.ndarray:
    """(policies,): the share of draws in which a policy has the largest of `scores` (draws, policies).

    Policies that are equal share the draw.
    """
    first = scores == scores.max(axis=1, keepdims=True)
    return (first / first.sum(axis=1, keepdims=True)).mean(axis=0)


def _include(ends: tuple[np.ndarray, np.ndarray], place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widen the sets to `place`. Pairs may share more states than all policies do, and so differ from it."""
    return np.minimum(ends[0], place), np.maximum(ends[1], place)


def _draws(
    values: np.ndarray, task: np.ndarray, resamples: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How often each state counts, (1 + resamples, states), and the seeds, (1 + resamples, policies, seeds).

    The first of them is the measured data. States are drawn within their `task` (states,), and are the same
    for all policies. The seeds of each policy are drawn independently. A seed stays itself if `values`
    (policies, seeds, states) are NaN for it.
    """
    weights = np.ones((1 + resamples, len(task)))
    for each in np.unique(task):
        own = np.flatnonzero(task == each)
        weights[1:, own] = random.multinomial(own.size, np.full(own.size, 1 / own.size), size=resamples)
    policies, seeds = values.shape[:2]
    chosen = np.broadcast_to(np.arange(seeds), (1 + resamples, policies, seeds)).copy()
    for policy, missing in enumerate(np.isnan(values[:, :, 0])):
        trained = np.flatnonzero(~missing)
        if trained.size > 1:
            chosen[1:, policy, trained] = random.choice(trained, size=(resamples, trained.size))
    return weights, chosen


def ranks_on_benchmark(
    records: pd.DataFrame,
    policies: Sequence[tuple[str, str]],
    benchmark: str,
    metric: str,
    better: Collection[tuple[tuple[str, str], tuple[str, str]]] | None = None,
) -> dict[tuple[str, str], Rank]:
    """Ranks of those `policies` (model, variant) that have records on `benchmark`.

    Only initial states that all these policies share are used, as in `rank_over_benchmarks`. `better`: the
    pairs (better policy, worse policy) that the table's tests decide; by default, the pairs are tested here.
    Empty if there are no policies or no shared states.
    """
    cells = {policy: cell_records(records, *policy, benchmark) for policy in policies}
    cells = {policy: own for policy, own in cells.items() if not own.empty}
    grid = Grid.from_cells(list(cells.values()), benchmark, metric)
    if grid is None:
        return {}
    shown = None if better is None else better_matrix(list(cells), better)
    return dict(zip(cells, rank_models(grid.values, better=shown, task=grid.task_index), strict=True))


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
    def from_cells(
        cls, cells: Sequence[pd.DataFrame], benchmark: str, metric: str | None = None
    ) -> Grid | None:
        """The grid of `cells`, each the records of one policy. None if the policies share no state.

        A state that is missing for a seed of any policy is left out for all policies. `metric`: the
        benchmark's score by default.
        """
        metric, frames = metric or score_metric(benchmark), []
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

    @property
    def task_index(self) -> np.ndarray:
        """(states,): the number of each state's task. All chains are one task."""
        if facts(self.benchmark).is_chain:
            return np.zeros(len(self.task), dtype=int)
        names = {name: number for number, name in enumerate(dict.fromkeys(self.task.tolist()))}
        return np.array([names[name] for name in self.task.tolist()])

    def scores(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Scores (draws, policies, seeds, tasks), from 0 to 1, of every training run on every task.

        `weights` (draws, states): how often each state counts. By default, one draw counts each state once.
        A chain is one task, and its score is the average length divided by 5: the success rates after one to
        five instructions are five views of the same chains, not five tasks. Missing seeds are NaN.
        """
        weights = np.ones((1, self.values.shape[2])) if weights is None else weights
        index, most = self.task_index, facts(self.benchmark).instructions_per_episode
        columns = []
        for task in range(index.max() + 1):
            own = index == task
            totals = self.values[:, :, own] @ weights[:, own].T  # (policies, seeds, draws)
            columns.append(np.moveaxis(totals / weights[:, own].sum(axis=1), -1, 0) / most)
        return np.stack(columns, axis=-1)

    def histograms(self, weights: np.ndarray) -> np.ndarray:
        """(draws, policies, seeds, outcomes): the share of each outcome 0, 1, ... in the weighted episodes.

        `weights` (draws, states): how often each state counts. Missing seeds are NaN.
        """
        parts = []
        for level in range(facts(self.benchmark).instructions_per_episode + 1):
            equal = np.where(np.isnan(self.values), np.nan, self.values == level)
            parts.append(np.moveaxis(equal @ weights.T / weights.sum(axis=1), -1, 0))
        return np.stack(parts, axis=-1)

    def runs(self, policy: int) -> np.ndarray:
        """All outcomes of one policy: (seeds x states,)."""
        values = self.values[policy].ravel()
        return values[~np.isnan(values)]


@dataclass(frozen=True)
class Ranking:
    """The results of one policy over all benchmarks.

    Intervals are 95 % percentiles of a bootstrap with one more state at each bound in turn, as in
    `intervals.bounded_mean`. So they have a width even if all policies fail everywhere.

    `iqm`: interquartile mean of the scores of all training runs on all tasks (see `Grid.scores`), as in
    rliable. `improvement`: probability that an episode of the policy scores higher than an episode of another
    policy, averaged over the other policies and the benchmarks. `rank`: the rank by score, averaged over
    benchmarks; `rank_ci`: its 95 % confidence set (see `rank_sets`), not a percentile interval. `best`: the
    share of resamples in which the policy has the best mean rank. A tie counts in parts. `profile`: share of
    the same scores above each of `THRESHOLDS`, with the limits of its intervals.
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
    several seeds are resampled within a benchmark: a run is a policy for all its tasks, so its scores on them
    stay together. (rliable resamples the runs of each task independently, because each of its runs trains on
    one task.) `better`: for each benchmark, whether the row was shown to be better than the column,
    (policies, policies), at a level that holds over all pairs and benchmarks; by default, `shown_better`
    tests the means over seeds. Empty if there are no grids.
    """
    if not grids:
        return []
    policies = len(next(iter(grids.values())).values)
    random = np.random.default_rng(seed)
    runs: list[list[np.ndarray]] = [[] for _ in range(policies)]
    pulls: list[list[np.ndarray]] = [[] for _ in range(policies)]
    means, wins, states = [], [], []  # by benchmark: (draws, policies); draw 0 is the measured data
    for name, grid in grids.items():
        weights, chosen = _draws(grid.values, grid.task_index, resamples, random)
        scores = np.take_along_axis(grid.scores(weights), chosen[..., None], axis=2)
        states.append(np.bincount(grid.task_index))
        pull = random.beta(1, states[-1], size=(resamples, states[-1].size))
        for policy, missing in enumerate(np.isnan(grid.values[:, :, 0])):
            runs[policy].append(scores[:, policy, ~missing].reshape(1 + resamples, -1))
            pulls[policy].append(np.tile(pull, int((~missing).sum())))
        by_seed = np.take_along_axis(grid.histograms(weights), chosen[..., None], axis=2)
        levels = np.nanmean(by_seed, axis=2)
        means.append(levels @ np.arange(levels.shape[2]) / maximum(name, score_metric(name)))
        wins.append(_improvement(levels))
    flat = [np.concatenate(each, axis=1) for each in runs]  # by policy: (draws, runs x tasks)
    iqm = np.stack([interquartile_mean(each) for each in flat], axis=1)
    profiles = np.stack([performance_profile(each, THRESHOLDS) for each in flat], axis=1)
    pulled = [np.concatenate(each, axis=1) for each in pulls]
    improved = np.mean(wins, axis=0)
    of_task = np.concatenate(states)
    profile_low, profile_high = (
        [_profile_limit(*each, bound) for each in zip(flat, pulled, strict=True)] for bound in (0, 1)
    )
    # The outer quarters of the scores say nothing about the middle half.
    middle = max(1, of_task.size * int(of_task.min()) // 2)
    fewest = len(grids) * min(int(each.sum()) for each in states)
    mean_ranks = rank_scores(np.round(means, 12)).mean(axis=0)
    best = _first(-mean_ranks[1:])
    if better is None:
        shown = shown_better([np.nanmean(grid.values, axis=1) for grid in grids.values()])
    else:
        shown = [better[name] for name in grids]
    ends = _include(np.mean([rank_sets(each) for each in shown], axis=0), mean_ranks[0])
    alone = policies < 2
    return [
        Ranking(
            iqm=float(iqm[0, policy]),
            iqm_ci=bounded_limits(iqm[1:, policy], middle, (0.0, 1.0)),
            improvement=None if alone else float(improved[0, policy]),
            improvement_ci=(None, None)
            if alone
            else bounded_limits(improved[1:, policy], fewest, (0.0, 1.0)),
            rank=float(mean_ranks[0, policy]),
            rank_ci=(float(ends[0][policy]), float(ends[1][policy])),
            best=float(best[policy]),
            profile=tuple(profiles[0, policy].tolist()),
            profile_low=tuple(profile_low[policy].tolist()),
            profile_high=tuple(profile_high[policy].tolist()),
        )
        for policy in range(policies)
    ]


def _profile_limit(scores: np.ndarray, pull: np.ndarray, bound: int) -> np.ndarray:
    """The lower (`bound` 0) or upper (1) limit of a performance profile, (thresholds,).

    `scores` (1 + draws, n): the measured and the resampled scores. Each resampled one is pulled to the bound
    by `pull` (draws, n), the weight of one more state there.
    """
    drawn = performance_profile(scores[1:] + pull * (bound - scores[1:]), THRESHOLDS)
    return np.quantile(drawn, (0.025, 0.975)[bound], axis=0)


def improvement_matrix(grids: Mapping[str, Grid]) -> np.ndarray:
    """(policies, policies): probability that an episode of the row scores higher than one of the column."""
    policies = len(next(iter(grids.values())).values)
    runs = [[grid.runs(policy) for grid in grids.values()] for policy in range(policies)]
    return np.array([[probability_of_improvement(one, other) for other in runs] for one in runs])


def _improvement(levels: np.ndarray) -> np.ndarray:
    """(draws, policies): probability of improvement over another policy, averaged over the other policies.

    `levels` (draws, policies, outcomes): the shares of the outcomes of each policy's episodes.
    """
    below = np.cumsum(levels, axis=2) - levels
    matrix = levels @ np.swapaxes(below + 0.5 * levels, 1, 2)
    others = max(1, levels.shape[1] - 1)
    return (matrix.sum(axis=2) - np.diagonal(matrix, axis1=1, axis2=2)) / others
