"""Records of rollouts that could stop early: which states count, the level of intervals, and the test.

The number of episodes of such a rollout depends on its outcomes. So tests are sequential, and the level of
intervals allows for every look. Records of other rollouts pass through these functions unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import LEVEL
from vlm4vla.analysis.sequential import UNDECIDED, compare_in_order
from vlm4vla.conventions.episodes import Stop

# Columns that records get if one of their rollouts could stop early. `turn`: the place of the episode in the
# order of the rollout, or -1 for a rollout that always runs all episodes.
TURN, PLANNED, BLOCK, ALPHA, AGAINST, DECISION = "turn", "planned", "block", "alpha", "against", "decision"
_NO_STOP = {TURN: -1, PLANNED: 0, BLOCK: 0, ALPHA: 0.0, AGAINST: "", DECISION: ""}
_RUN = ["model", "auxiliary", "variant", "benchmark", "seed"]


def with_stop(frame: pd.DataFrame, stop: Stop) -> pd.DataFrame:
    """The records `frame` of one rollout with the columns above. Raises ValueError for other episodes."""
    if sorted(frame["episode"]) != stop.numbers:
        raise ValueError(f"the episodes are not the first {stop.episodes} of the rollout's order")
    if stop.stopped and not stop.reason:
        raise ValueError(f"{stop.episodes} of {len(stop.order)} episodes, and no reason to stop")
    turns = {number: turn for turn, number in enumerate(stop.order)}
    values = {
        TURN: frame["episode"].map(turns).astype("int64"),
        PLANNED: len(stop.order),
        BLOCK: stop.block,
        ALPHA: stop.alpha,
        AGAINST: "/".join((stop.model, stop.auxiliary, stop.variant)),
        DECISION: stop.decision,
    }
    return frame.assign(**values)


def fill_stops(records: pd.DataFrame) -> pd.DataFrame:
    """The records of several rollouts, of which only some have the columns above."""
    if TURN not in records:
        return records
    filled = records.fillna(_NO_STOP)
    return filled.astype({name: "int64" for name in (TURN, PLANNED, BLOCK)})


def can_stop(records: pd.DataFrame) -> bool:
    """Whether a rollout of `records` could stop early."""
    return TURN in records and bool((records[TURN] >= 0).any())


def common_states(records: pd.DataFrame) -> pd.DataFrame:
    """The records of one policy on the states that all its training seeds have, if a rollout could stop.

    States that only some seeds reached are left out: the seeds that reached them are those that were hard to
    decide, so that a mean over all states would be drawn to them.
    """
    if not can_stop(records) or records["seed"].nunique() < 2:
        return records
    seeds = records.groupby("episode")["seed"].nunique()
    return records[records["episode"].isin(seeds.index[seeds == records["seed"].nunique()])]


def interval_level(*sides: pd.DataFrame, level: float = LEVEL) -> float:
    """The level of each interval, so that all intervals at all looks together have `level` (Bonferroni).

    `sides`: the records behind the interval. A rollout is looked at after each block. So the intervals after
    an early stop are valid, and wider than those of a fixed number of episodes.
    """
    looks = [
        math.ceil(planned / block)
        for side in sides
        if can_stop(side)
        for planned, block in zip(side[PLANNED], side[BLOCK], strict=True)
        if block
    ]
    return level if not looks else 1 - (1 - level) / max(looks)


def sequential_p_value(own: pd.Series, other: pd.Series, most: int, *sides: pd.DataFrame) -> float:
    """The two-sided p value of a pair in which a rollout could stop early, valid at any stopping time.

    `own` and `other`: whole outcomes of the two policies by episode, from 0 to `most`. `sides`: their
    records, which hold the order of the states. The test is `sequential.SequentialTest`, which the rollouts
    used to stop. It holds for every pair, not only for the one that ended a rollout: the states that
    two policies share end at a time that depends on nothing but earlier outcomes. The p value is 1 if the
    decision and the mean over all shared states have different signs.
    """
    side = next(side for side in sides if can_stop(side))
    ordered = side[side[TURN] >= 0].drop_duplicates("episode").set_index("episode")
    episodes = ordered[TURN].reindex(own.index).sort_values().index
    shrink = int(np.gcd.reduce([most, *own, *other]))
    pairs = (own[episodes].to_numpy() // shrink, other[episodes].to_numpy() // shrink)
    found = compare_in_order(
        pairs[0].tolist(),
        pairs[1].tolist(),
        n_max=int(ordered[PLANNED].max()),
        alpha=float(ordered[ALPHA].max()),
        most=most // shrink,
        hopeless=0,
    )
    if found.outcome == UNDECIDED:
        return found.p_value
    total = int(pairs[0].sum() - pairs[1].sum())
    return found.p_value if (total > 0) == (found.outcome == "higher") and total else 1.0


@dataclass(frozen=True)
class EarlyEnd:
    """A rollout that ended after `episodes` of `planned` episodes, and the policy it was compared with."""

    model: str
    auxiliary: str
    variant: str
    benchmark: str
    seed: int
    episodes: int
    planned: int
    against: str
    decision: str


def early_ends(records: pd.DataFrame) -> list[EarlyEnd]:
    """The rollouts that ended before their last episode."""
    if not can_stop(records):
        return []
    found = []
    for run, own in records[records[TURN] >= 0].groupby(_RUN, sort=False):
        first = own.iloc[0]
        if len(own) < first[PLANNED]:
            ended = EarlyEnd(*run, len(own), int(first[PLANNED]), first[AGAINST], first[DECISION])
            found.append(ended)
    return found
