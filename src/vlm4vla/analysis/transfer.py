"""Whether the ranking of policies on one benchmark carries over to another, and what noise alone allows.

The coefficient is Spearman's rho: Pearson's r of the ranks. Noise pulls a product moment towards 0 by a
factor that follows from the reliabilities of both scores (Spearman 1904), and the formula of Spearman and
Brown gives these reliabilities for more seeds or states than were correlated. Kendall's tau has neither.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from vlm4vla.analysis.correlation import is_defined, pearson, pearson_rows
from vlm4vla.analysis.groups import Grouping
from vlm4vla.analysis.intervals import SEED
from vlm4vla.analysis.sensitivity import (
    NEGATIVE,
    NOT_DEFINED,
    POSITIVE,
    UNDECIDED,
    WEAK,
    Clustered,
    CorrelationReading,
    LeaveOneOut,
    read,
)

CARRIES, NOT_CARRIED, UNTOLD = "carries over", "does not carry over", "cannot be told"
SEEDS, HALVES = "training seeds", "halves of the initial states"
SPLITS = 200  # random halves of the initial states
LEAST_TESTED = 5  # points: of four, no order has a p value below 5 % (2 / 4!)


@dataclass(frozen=True)
class Reliability:
    """How well a benchmark's ranking repeats: the rho between two measurements like this one, from 0 to 1.

    `by`: SEEDS, or HALVES, which know nothing of other training seeds. `single`: the mean rho between two
    seeds, or between two halves, before the formula of Spearman and Brown.
    """

    value: float
    single: float
    by: str


def rho(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's rho of `x` (n,) and `y` (n,). None below three points, or if one of them is constant."""
    if not is_defined(x, y):
        return None
    return pearson(stats.rankdata(x), stats.rankdata(y))


def spearman_brown(single: float, factor: int) -> float:
    """The reliability of a mean of `factor` parts, of which two correlate with `single`; not below 0."""
    single = max(0.0, single)
    return factor * single / (1 + (factor - 1) * single)


def reliability(values: np.ndarray, task: np.ndarray) -> Reliability | None:
    """The reliability of the ranking by the means of `values` (policies, seeds, states).

    `values` are NaN for a seed that a policy does not have. `task` (states,): numbers from 0. If all policies
    have two seeds, each pair of seeds is correlated over the policies. Otherwise, random halves of the states
    of each task are. None if no such rho is defined.
    """
    by_seed = values.mean(axis=2).round(12)  # the order of summation must not break ties
    seeds = int((~np.isnan(by_seed)).sum(axis=1).min(initial=by_seed.shape[1]))
    if seeds > 1:
        pairs = itertools.combinations(by_seed[:, :seeds].T, 2)
        return _mean_reliability([rho(*pair) for pair in pairs], seeds, SEEDS)
    if len(task) < 2:
        return None
    by_state, random = np.nanmean(values, axis=1), np.random.default_rng(SEED)
    first = np.array([_half(task, random) for _ in range(SPLITS)], dtype=np.float64)
    sides = [(half @ by_state.T / half.sum(axis=1, keepdims=True)).round(12) for half in (first, 1 - first)]
    usable = (np.ptp(sides[0], axis=1) > 0) & (np.ptp(sides[1], axis=1) > 0)
    if len(by_state) < 3 or not usable.any():
        return None
    found = pearson_rows(*(stats.rankdata(side[usable], axis=1) for side in sides))
    return _mean_reliability(found.tolist(), 2, HALVES)


def _mean_reliability(found: Sequence[float | None], parts: int, by: str) -> Reliability | None:
    known = [each for each in found if each is not None]
    if not known:
        return None
    single = float(np.mean(known))
    return Reliability(spearman_brown(single, parts), single, by)


def _half(task: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Whether each state is in the first half (states,). A task with an odd number gives it one more or less.

    Neither half is empty.
    """
    order = np.lexsort((random.random(len(task)), task))
    first = np.zeros(len(task), dtype=bool)
    first[order[int(random.integers(2)) :: 2]] = True
    return first


def ceiling(first: Reliability | None, second: Reliability | None) -> float | None:
    """The largest rho that these reliabilities allow on average: that of two equal rankings without noise."""
    return math.sqrt(first.value * second.value) if first and second else None


def testable(families: Clustered, members: Sequence[str]) -> Clustered:
    """`families` without the loss of significance that has no other reason than a lack of points.

    `members` (n,): the family of each point. If fewer than five points are left without a family, no
    correlation is significant without it. Six of the study's ten backbones are of one lineage.
    """
    if families.without is None:
        return families
    left = {name: len(members) - list(members).count(name) for name in members}
    loses = tuple(name for name in families.without.loses if left[name] >= LEAST_TESTED)
    return replace(families, without=replace(families.without, loses=loses))


def read_transfer(
    value: float | None,
    p_value: float | None,
    points: LeaveOneOut | None = None,
    families: Clustered | None = None,
    *,
    groups: Sequence[Grouping] = (),
    interval: Sequence[float | None] = (None, None),
    limit: float | None = None,
    count: int = 0,
    margin: float = 0.5,
) -> CorrelationReading:
    """Whether a ranking carries over, from rho, its corrected p value and its `interval`.

    `limit`: the ceiling. The other arguments are those of `sensitivity.read`, of the ranks.

    - CARRIES: rho is positive after the correction, no backbone, family or groups carry it, and the whole
      `interval` lies at `margin` or above.
    - NOT_CARRIED: the whole interval, divided by the ceiling, lies within `margin` on both sides of 0; or rho
      is negative in the same sense, so that the ranking is reversed.
    - UNTOLD: otherwise. The words say what is known nevertheless, or that the ceiling is below `margin`.
    """
    found = read(
        value, p_value, points, families, groups=groups, interval=interval, count=count, margin=margin
    )
    low, high = interval
    untold = f"{UNTOLD} with {count} backbones"
    if found.outcome == NOT_DEFINED or low is None or high is None:
        return CorrelationReading(UNTOLD, untold)
    if found.outcome == POSITIVE and low >= margin:
        return CorrelationReading(CARRIES, CARRIES)
    if found.outcome == POSITIVE:
        return CorrelationReading(UNTOLD, f"{untold} (positive, but less than {margin:g} is possible)")
    if found.outcome == NEGATIVE:
        return CorrelationReading(NOT_CARRIED, f"{NOT_CARRIED}, but is reversed")
    # Noise shrinks rho. So its interval without noise is wider, by the ceiling.
    least, most = (end / limit if limit else math.copysign(math.inf, end) for end in (low, high))
    if found.outcome == WEAK and -margin < least and most < margin:
        return CorrelationReading(NOT_CARRIED, NOT_CARRIED)
    if limit is not None and limit < margin:
        return CorrelationReading(UNTOLD, f"{UNTOLD}, because one of the two rankings repeats too little")
    if found.outcome == WEAK:
        noise = "noise may hide it" if limit is None else f"noise alone limits rho to {limit:.2f}"
        return CorrelationReading(UNTOLD, f"{untold} ({noise})")
    if found.outcome == UNDECIDED:
        hint = f", but {margin:g} or more is excluded" if most < margin else ""
        return CorrelationReading(UNTOLD, found.words + hint)
    return CorrelationReading(UNTOLD, f"{untold}: {found.words}")
