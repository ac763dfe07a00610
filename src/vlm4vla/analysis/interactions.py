"""Whether an effect differs between two conditions: the difference of two differences, as one test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import bounded_mean
from vlm4vla.analysis.paired import (
    SEEDS_AND_SEQUENTIAL,
    SEEDS_AND_STATES,
    SEQUENTIAL,
    SIGN_FLIP,
    Comparison,
    beyond_seeds,
    compare,
    sign_flip,
)
from vlm4vla.analysis.records import RUN, outcome
from vlm4vla.analysis.seed_spread import SeedMeans, SeedSpread, SeedTest, difference_test, pooled_spread
from vlm4vla.analysis.stopped import can_stop, interval_level, sequential_p_value
from vlm4vla.conventions.benchmarks import maximum


class Effect(NamedTuple):
    """The records of a policy and those of the policy that it is compared with, on one benchmark."""

    policy: pd.DataFrame
    base: pd.DataFrame


def compare_effects(
    first: Effect, second: Effect, metric: str, spread: SeedSpread | None = None
) -> Comparison | None:
    """The effect `first` minus the effect `second`, paired by initial state.

    One effect that is significant and one that is not do not show that they differ (Gelman and Stern 2006,
    "The difference between significant and not significant is not itself statistically significant").

    If both effects have the same base, it cancels, and the result is that of `paired.compare` for the two
    policies. Otherwise the difference of both differences is taken for each initial state over the training
    seeds that all four cells share. Its test is the sign-flip test and its interval that of a bounded mean,
    or with several seeds those over seeds and states. `spread`, and rollouts that could stop early: see
    `paired.compare`. None if a cell is
    empty, or if the cells share no seed or no state.
    """
    if any(side.empty for side in (*first, *second)):
        return None
    if _runs(first.base) == _runs(second.base):
        return compare(first.policy, second.policy, metric, spread)
    tables = _aligned([*first, *second], metric)
    if tables is None:
        return None
    policy, base, other, other_base = (table.to_numpy() for table in tables)
    whole = (policy - base - other + other_base).astype(np.int64)
    seeds, states = whole.shape
    by_state, total = whole.mean(axis=0), whole.sum(axis=0)
    most = maximum(first.policy["benchmark"].iloc[0], metric)
    level = interval_level(*first, *second)
    interval = bounded_mean(by_state, (-2 * most, 2 * most), level)
    mean, test = float(by_state.mean()), SIGN_FLIP
    if any(map(can_stop, (*first, *second))):
        sums = [table.sum().astype(np.int64) for table in tables]
        pair = sums[0] + sums[3], sums[1] + sums[2]
        states_p, test = sequential_p_value(*pair, 2 * int(most) * seeds, *first, *second), SEQUENTIAL
    else:
        states_p = sign_flip(total)
    p = states_p
    if seeds > 1:
        means = [SeedMeans.of(table.to_numpy(), most) for table in tables]
        spread = pooled_spread(means) if spread is None else spread
        if spread is not None:
            found = _seed_test(means, by_state, spread, most)
            p, interval = beyond_seeds(found, mean, 2 * most, states_p, interval, level)
            test = SEEDS_AND_STATES if test == SIGN_FLIP else SEEDS_AND_SEQUENTIAL
    deviation = float(by_state.std(ddof=1)) if states > 1 else 0.0
    return Comparison(
        difference=mean,
        ci_low=interval[0],
        ci_high=interval[1],
        p_value=p,
        test=test,
        states=states,
        wins=int((total > 0).sum()),
        losses=int((total < 0).sum()),
        effect_size=mean / deviation if deviation > 0 else None,
        seeds=seeds,
        states_p_value=states_p,
    )


def _runs(records: pd.DataFrame) -> set[tuple]:
    """The runs behind the records of a cell. The execution horizon tells cells of one run apart."""
    return set(records[[*RUN, "execution_horizon"]].itertuples(index=False, name=None))


def _aligned(sides: Sequence[pd.DataFrame], metric: str) -> list[pd.DataFrame] | None:
    """Outcomes (seeds, states) of each side on the seeds and states that all have; None if there are none."""
    tables = [
        side.assign(outcome=outcome(side, metric)).pivot(index="seed", columns="episode", values="outcome")
        for side in sides
    ]
    seeds = sorted(set.intersection(*(set(table.index) for table in tables)))
    shared = [table.loc[seeds].dropna(axis=1) for table in tables]
    episodes = sorted(set.intersection(*(set(table.columns) for table in shared)))
    if not seeds or not episodes:
        return None
    return [table[episodes] for table in shared]


def _seed_test(means: Sequence[SeedMeans], by_state: np.ndarray, spread: SeedSpread, most: float) -> SeedTest:
    """The test over seeds and states: the seeds' variances of both differences add up."""
    still = np.zeros(len(by_state))  # only the seeds' part
    parts = [difference_test(*pair, still, spread, most) for pair in (means[:2], means[2:])]
    states = float(np.var(by_state, ddof=1)) / len(by_state) if len(by_state) > 1 else 0.0
    return SeedTest(sum(part.variances for part in parts) + states, max(1.0, len(by_state) - 1.0))
