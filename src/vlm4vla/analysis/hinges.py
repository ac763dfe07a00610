"""Whether a paired difference lies in one task, one training seed or one backbone alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import SEED, bounded_mean
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import RANDOM_PATTERNS, sign_flip
from vlm4vla.analysis.records import outcome
from vlm4vla.analysis.stopped import can_stop
from vlm4vla.conventions.episodes import SEPARATOR

SIGNIFICANT = 0.05
TASK, TRAINING_SEED, BACKBONE = "task", "seed", "backbone"


@dataclass(frozen=True)
class Hinge:
    """The one part of a comparison in which its difference is seen, and what the other parts show.

    `kind`: TASK, TRAINING_SEED or BACKBONE. `name`: the part. `parts`: the number of parts, with this one.
    `difference`: the mean in this part. `rest`, `rest_low`, `rest_high`: the mean in all other parts
    together, with its 95 % interval over initial states. `p_value`: that both means are equal, after Holm's
    correction over the parts.
    """

    kind: str
    name: str
    parts: int
    difference: float
    rest: float
    rest_low: float
    rest_high: float
    p_value: float

    def absent_elsewhere(self, margin: float) -> bool:
        """Whether the interval of the other parts lies within `margin` around 0."""
        return -margin <= self.rest_low and self.rest_high <= margin


def task_hinge(differences: np.ndarray, tasks: Sequence[str], most: float) -> Hinge | None:
    """The task in which the mean of `differences` (seeds, states) lies alone; None if there is none.

    `tasks` (states,): the task of each state. A chain counts for each of its tasks. `most`: the largest
    possible difference.

    Without one of the tasks, every difference is tested with less power. So a difference that is no longer
    significant then does not yet hinge on this task. It does if three conditions hold. First, the task's
    states make up more than half of the sum of the differences. Second, the interval of the mean over the
    other states does not lie on the same side of 0. Third, the task's states differ from the others more
    than the same number of random states does (permutation test, 5 % level after Holm's correction over the
    tasks). The seeds are treated as fixed.
    """
    whole = np.asarray(differences).sum(axis=0)
    seeds = len(differences)
    members = _members(tuple(map(str, tasks)))
    total = int(whole.sum())
    for name, inside in members.items():
        share = int(whole[inside].sum())
        if not 0 < inside.sum() < len(whole) or 2 * abs(share) <= abs(total) or share * total <= 0:
            continue
        rest = whole[~inside] / seeds
        low, high = bounded_mean(rest, (-most, most))
        if _same_side(low, high, total):
            continue
        p = _random_states(whole, inside)
        adjusted = holm([p, *[1.0] * (len(members) - 1)])[0]
        if adjusted < SIGNIFICANT:
            mean = float(whole[inside].mean()) / seeds
            return Hinge(TASK, name, len(members), mean, float(rest.mean()), low, high, adjusted)
    return None


def row_hinge(
    differences: np.ndarray, names: Sequence[Hashable], most: float, kind: str = TRAINING_SEED
) -> Hinge | None:
    """The row in which the mean of `differences` (rows, states) lies alone; None if there is none.

    Rows are training seeds or backbones (`kind`) on the same states, with their `names`. The conditions are
    those of `task_hinge`. The test is that the row's difference from the mean of the other rows is symmetric
    about 0 over states (sign-flip test). The interval of the other rows treats them as fixed.
    """
    whole = np.asarray(differences)
    rows, total = len(whole), int(whole.sum())
    for index, name in enumerate(names):
        share = int(whole[index].sum())
        if rows < 2 or 2 * abs(share) <= abs(total) or share * total <= 0:
            continue
        rest = (whole.sum(axis=0) - whole[index]) / (rows - 1)
        low, high = bounded_mean(rest, (-most, most))
        if _same_side(low, high, total):
            continue
        p = sign_flip(rows * whole[index] - whole.sum(axis=0))
        adjusted = holm([p, *[1.0] * (rows - 1)])[0]
        if adjusted < SIGNIFICANT:
            mean = float(whole[index].mean())
            return Hinge(kind, str(name), rows, mean, float(rest.mean()), low, high, adjusted)
    return None


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one cell: a table by training seed and episode, and the task of each episode."""

    table: pd.DataFrame
    tasks: pd.Series

    @classmethod
    def of(cls, records: pd.DataFrame, metric: str) -> Outcomes:
        """From the records of a cell.

        The table is empty if rollouts could stop early: the tests here need a fixed number of states.
        """
        by_episode = records.drop_duplicates("episode").set_index("episode")["task"]
        if can_stop(records):
            return cls(pd.DataFrame(), by_episode)
        frame = records.assign(outcome=outcome(records, metric))
        return cls(frame.pivot(index="seed", columns="episode", values="outcome"), by_episode)

    def minus(self, other: Outcomes) -> tuple[np.ndarray, list[int], list[str]]:
        """Whole differences (seeds, states) to another cell, the shared seeds, and the task of each state.

        Only seeds that both cells have count, and only states that all of these seeds have. The array is
        empty if there are none.
        """
        seeds = sorted(set(self.table.index) & set(other.table.index))
        if not seeds:
            return np.zeros((0, 0), dtype=np.int64), [], []
        shared = (self.table.loc[seeds] - other.table.loc[seeds]).dropna(axis=1)
        tasks = self.tasks.reindex(shared.columns).astype(str).tolist()
        return shared.to_numpy().astype(np.int64), [int(seed) for seed in seeds], tasks


@lru_cache(maxsize=8)
def _members(tasks: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """For each task, whether each state has it, alone or in its chain. Pairs of a benchmark share this."""
    chains = [set(chain.split(SEPARATOR)) for chain in tasks]
    return {name: np.array([name in chain for chain in chains]) for name in sorted(set().union(*chains))}


def _same_side(low: float, high: float, total: int) -> bool:
    return low > 0 if total > 0 else high < 0


def _random_states(whole: np.ndarray, inside: np.ndarray) -> float:
    """The share of random sets of as many states whose sum is as far from its expectation as the sum inside.

    The measured set is counted with them (Phipson and Smyth 2010).
    """
    values, counts = np.unique(whole, return_counts=True)
    count, states = int(inside.sum()), len(whole)
    drawn = np.random.default_rng(SEED).multivariate_hypergeometric(counts, count, size=RANDOM_PATTERNS)
    centre = count * int(whole.sum())  # times `states`, so that all numbers are whole
    far = np.abs(states * (drawn @ values) - centre) >= abs(states * int(whole[inside].sum()) - centre)
    return (1 + int(far.sum())) / (1 + RANDOM_PATTERNS)
