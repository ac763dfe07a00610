"""Compare two policies on the same initial states: paired differences and their tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.intervals import LEVEL, SEED, bounded_mean
from vlm4vla.analysis.power import beyond, needed_states
from vlm4vla.analysis.records import outcome
from vlm4vla.analysis.seed_spread import SeedMeans, SeedSpread, SeedTest, difference_test, pooled_spread
from vlm4vla.analysis.stopped import can_stop, common_states, interval_level, sequential_p_value
from vlm4vla.conventions.benchmarks import maximum
from vlm4vla.core.errors import UserError

MCNEMAR, SIGN_FLIP, SEEDS_AND_STATES = "McNemar", "sign-flip", "seeds and states"
# Valid after an early stop
SEQUENTIAL, SEEDS_AND_SEQUENTIAL = "sequential sign-flip", "seeds and sequential states"
RANDOM_PATTERNS = 99_999
_BLOCK = 4_000_000  # random signs at once: 32 MB
_EXACT_UP_TO = 1_000_000  # the sum of all sizes; the time of the exact test grows with it


@dataclass(frozen=True)
class Comparison:
    """Mean of the first policy minus mean of the second policy, over `states` shared initial states.

    `p_value` is two-sided. With several training seeds, it covers seeds and initial states. `states_p_value`:
    the p value over initial states alone, for these trained policies; without several seeds, the same.
    `wins`, `losses`: the numbers of states at which the first policy did better or
    worse. `effect_size`: the mean difference divided by its standard deviation over states (Cohen's d for
    pairs), None if all states are alike. `seeds`: the number of shared training seeds. `binary`: each state
    has one 0/1 outcome of each policy.
    """

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    states: int
    wins: int
    losses: int
    effect_size: float | None
    seeds: int
    states_p_value: float
    binary: bool = False

    def needed(self, level: float, *, decided: bool = False) -> int | None:
        """The number of states for 80 % power at `level` and the observed difference.

        It is larger than `states`, unless the pair is `decided` (see `power.episodes_needed`). None, too, for
        a sequential test.
        """
        if self.test in (SEQUENTIAL, SEEDS_AND_SEQUENTIAL):  # its number of states is not chosen before
            return None
        effect = self.effect_size
        if effect is None:
            effect = math.copysign(math.inf, self.difference) if self.difference else 0.0
        found = needed_states(self.states, self.wins, self.losses, effect, binary=self.binary, level=level)
        return found if decided else beyond(found, self.states)


def mcnemar(wins: int, losses: int) -> float:
    """p value of the exact two-sided McNemar test of `wins` against `losses` among the discordant pairs."""
    return sign_flip(np.repeat([1, -1], [wins, losses]))


def sign_flip(differences: np.ndarray) -> float:
    """p value of the exact two-sided sign-flip permutation test that `differences` are symmetric about 0.

    `differences` (n,) are integers. The p value is the share of the 2^n sign patterns whose sum is at least
    as far from 0 as the observed sum. The distribution of the sum is computed one difference at a time, so
    all patterns are counted for any n. Only if the sum of all sizes is above a million, random patterns are
    counted, and the observed one with them (Phipson and Smyth 2010). Raises ValueError if a difference is not
    whole.
    """
    differences = np.asarray(differences)
    if differences.size and not np.equal(np.mod(differences, 1), 0).all():
        raise ValueError("differences must be whole numbers")
    whole = differences.astype(np.int64)
    whole //= max(1, int(np.gcd.reduce(whole))) if whole.size else 1  # a common factor has no effect
    observed = abs(int(whole.sum()))
    sizes = np.abs(whole[whole != 0])
    total = int(sizes.sum())
    if total > _EXACT_UP_TO:
        return _random_sign_flips(sizes, observed)
    weights = np.zeros(2 * total + 1)  # weights[total + s] = P(sum of the differences so far = s)
    weights[total] = 1.0
    for size in sizes:
        weights = 0.5 * (np.roll(weights, size) + np.roll(weights, -size))  # never wraps: |s| <= total
    sums = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, weights[sums >= observed].sum()))


def _random_sign_flips(sizes: np.ndarray, observed: int) -> float:
    """The share of random sign patterns of `sizes` whose sum is at least as far from 0 as `observed`."""
    distinct, counts = np.unique(sizes, return_counts=True)
    rng, far = np.random.default_rng(SEED), 0
    # In blocks, because all patterns of many sizes would take gigabytes. The patterns are the same.
    block = max(1, _BLOCK // len(counts))
    for begin in range(0, RANDOM_PATTERNS, block):
        rows = min(block, RANDOM_PATTERNS - begin)
        up = rng.binomial(counts, 0.5, size=(rows, len(counts)))
        far += int((np.abs((2 * up - counts) @ distinct) >= observed).sum())
    return (1 + far) / (1 + RANDOM_PATTERNS)


def table_spread(cells: Sequence[pd.DataFrame], metric: str) -> SeedSpread | None:
    """The spread of the training seeds over the policies of a table on one benchmark.

    `cells`: the records of each policy. Policies with one seed do not count; None if there are no others.
    """
    several = [records for records in cells if records["seed"].nunique() > 1]
    if not several:
        return None
    most = maximum(several[0]["benchmark"].iloc[0], metric)
    return pooled_spread([SeedMeans.of(_by_seed(records, metric), most) for records in several])


def compare(
    first: pd.DataFrame, second: pd.DataFrame, metric: str, spread: SeedSpread | None = None
) -> Comparison | None:
    """Compare the records of two cells by `metric`, paired by initial state.

    Only shared training seeds are used, and all outcomes of these seeds on a state count. If the cells share
    no seed, such as a trained policy and the random policy, all seeds are used.

    The test over initial states treats the trained policies as fixed. With one seed and a 0/1 outcome, it is
    McNemar's; otherwise it is the sign-flip test of the differences by state. Its interval is that of a
    bounded mean over states (`bounded_mean`).

    With two or more shared seeds, the p value is the larger one of this test and of a test over seeds and
    states (`seed_spread.difference_test`). So it covers other seeds, and never decides what the states leave
    open. `spread`: how far apart the seeds are, pooled over the policies of the table (`table_spread`); the
    two policies alone by default. With `spread`, the seeds of cells that share none count as well. The
    interval belongs to this test, is at least as wide as that over states, and excludes 0 if and only if the
    p value is below 5 %.

    If a rollout could stop early, the test over states is sequential (`stopped.sequential_p_value`), and only
    the states count that all seeds of both cells have. The interval then has the level of
    `stopped.interval_level`, and need not agree with the p value.

    None if a cell is empty or the cells share no state. Raises UserError if an episode number has another
    task or another initial state in the other cell.
    """
    if first.empty or second.empty:
        return None
    shared = set(first["seed"]) & set(second["seed"])
    if shared:
        first, second = first[first["seed"].isin(shared)], second[second["seed"].isin(shared)]
    sequential, level = can_stop(first) or can_stop(second), interval_level(first, second)
    first, second = common_states(first), common_states(second)
    left, right = _per_state(first, metric), _per_state(second, metric)
    both = left.merge(right, left_index=True, right_index=True, suffixes=("_1", "_2"))
    if both.empty:
        return None
    for key in ("task", "initial_state"):
        other = both[both[f"{key}_1"] != both[f"{key}_2"]]
        if len(other):
            one, two = (
                "/".join(side[key].iloc[0] for key in ("model", "auxiliary", "variant"))
                for side in (first, second)
            )
            raise UserError(
                f"{first['benchmark'].iloc[0]}: episode {other.index[0]} has another {key} for {one} than "
                f"for {two}: evaluate both on the same initial states"
            )
    # With a common denominator, the differences are whole numbers, as the exact test requires. It is the same
    # for all states. So the tested sum has the sign and the weights of the shown difference, even if some
    # states have fewer seeds.
    parts = (both["seeds_1"] * both["seeds_2"]).to_numpy()
    whole = (both["total_1"] * both["seeds_2"] - both["total_2"] * both["seeds_1"]).to_numpy()
    difference = whole / parts
    whole = whole * (np.lcm.reduce(parts) // parts)
    wins, losses = int((whole > 0).sum()), int((whole < 0).sum())
    binary = metric != "average_length" and bool(
        (both["seeds_1"] == 1).all() and (both["seeds_2"] == 1).all()
    )
    most = maximum(first["benchmark"].iloc[0], metric)
    interval = bounded_mean(difference, (-most, most), level)
    if sequential:
        largest = int(most) * int(parts.max())
        pair = both["total_1"] * both["seeds_2"], both["total_2"] * both["seeds_1"]
        states_p, test, binary = sequential_p_value(*pair, largest, first, second), SEQUENTIAL, False
    else:
        states_p = mcnemar(wins, losses) if binary else sign_flip(whole)
        test = MCNEMAR if binary else SIGN_FLIP
    p = states_p
    if len(shared) > 1 or (spread is not None and not shared):
        sides = [
            SeedMeans.of(_by_seed(side[side["episode"].isin(both.index)], metric), most)
            for side in (first, second)
        ]
        spread = pooled_spread(sides) if spread is None else spread
        if spread is not None and max(side.seeds for side in sides) > 1:
            p, interval = _over_seeds(sides, difference, spread, most, states_p, interval, level)
            test = SEEDS_AND_SEQUENTIAL if sequential else SEEDS_AND_STATES
    deviation = float(difference.std(ddof=1)) if len(both) > 1 else 0.0
    return Comparison(
        difference=float(difference.mean()),
        ci_low=interval[0],
        ci_high=interval[1],
        p_value=p,
        test=test,
        states=len(both),
        wins=wins,
        losses=losses,
        effect_size=float(difference.mean()) / deviation if deviation > 0 else None,
        seeds=len(shared),
        states_p_value=states_p,
        binary=binary,
    )


def _over_seeds(
    sides: Sequence[SeedMeans],
    difference: np.ndarray,
    spread: SeedSpread,
    most: float,
    states_p: float,
    states_interval: tuple[float, float],
    level: float,
) -> tuple[float, tuple[float, float]]:
    """The p value over seeds and states, and its interval (`beyond_seeds`)."""
    found = difference_test(*sides, difference, spread, most)
    return beyond_seeds(found, float(difference.mean()), most, states_p, states_interval, level)


def beyond_seeds(
    found: SeedTest,
    mean: float,
    most: float,
    states_p: float,
    states_interval: tuple[float, float],
    level: float = LEVEL,
) -> tuple[float, tuple[float, float]]:
    """The p value over seeds and states, and an interval that excludes 0 if and only if it is below 5 %.

    `found`: the test of the difference `mean`, which is at most `most`. `states_p`, `states_interval`: the
    test over states alone. The result is never more certain than that. `level`: of the interval.
    """
    half = found.half_width(level)
    p = max(states_p, found.p_value(mean))
    low, high = max(-most, mean - half), min(most, mean + half)
    widest = min(low, states_interval[0]), max(high, states_interval[1])
    if p >= 1 - LEVEL:
        return p, (min(widest[0], 0.0), max(widest[1], 0.0))
    # Where only the interval over states reaches 0, the end of the test's own interval stays.
    return p, (low if widest[0] <= 0 < mean else widest[0], high if mean < 0 <= widest[1] else widest[1])


def _by_seed(records: pd.DataFrame, metric: str) -> np.ndarray:
    """Outcomes (seeds, states) of one cell. A missing outcome is the mean over the other seeds."""
    records = common_states(records)
    frame = records.assign(outcome=outcome(records, metric))
    table = frame.pivot(index="seed", columns="episode", values="outcome")
    return np.where(table.isna(), table.mean(axis=0), table)


def _per_state(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """By episode: sum of the outcomes over training seeds, number of seeds, task and initial state."""
    frame = records[["episode", "task", "initial_state"]].assign(total=outcome(records, metric))
    states = frame.drop_duplicates("episode").set_index("episode").sort_index()
    if len(states) == len(frame):  # one training seed
        return states.assign(seeds=1)
    by_state = frame.groupby("episode")["total"].agg(["sum", "size"])  # a seed has each episode once
    return states.assign(total=by_state["sum"], seeds=by_state["size"])
