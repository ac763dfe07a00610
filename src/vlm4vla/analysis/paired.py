"""Compare two policies on the same initial states: paired differences and exact tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlm4vla.analysis.hierarchical import two_level_bootstrap
from vlm4vla.analysis.intervals import SEED, bounded_mean
from vlm4vla.analysis.power import beyond, needed_states
from vlm4vla.analysis.records import outcome
from vlm4vla.conventions.benchmarks import maximum
from vlm4vla.core.errors import UserError

MCNEMAR = "McNemar"
RANDOM_PATTERNS = 99_999
_EXACT_UP_TO = 1_000_000  # the sum of all sizes; the time of the exact test grows with it


@dataclass(frozen=True)
class Comparison:
    """Mean of the first policy minus mean of the second policy, over `states` shared initial states.

    `p_value` is two-sided. `wins`, `losses`: the numbers of states at which the first policy did better or
    worse. `effect_size`: the mean difference divided by its standard deviation over states (Cohen's d for
    pairs), None if all states are alike. `seeds`: the number of shared training seeds.
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

    def needed(self, level: float, *, decided: bool = False) -> int | None:
        """The number of states for 80 % power at `level` and the observed difference.

        It is larger than `states`, unless the pair is `decided` (see `power.episodes_needed`).
        """
        effect = self.effect_size
        if effect is None:
            effect = math.copysign(math.inf, self.difference) if self.difference else 0.0
        binary = self.test == MCNEMAR
        found = needed_states(self.states, self.wins, self.losses, effect, binary=binary, level=level)
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
    up = np.random.default_rng(SEED).binomial(counts, 0.5, size=(RANDOM_PATTERNS, len(counts)))
    far = int((np.abs((2 * up - counts) @ distinct) >= observed).sum())
    return (1 + far) / (1 + RANDOM_PATTERNS)


def compare(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> Comparison | None:
    """Compare the records of two cells by `metric`, paired by initial state.

    Only shared training seeds are used, and all outcomes of these seeds on a state count. If the cells share
    no seed, such as a trained policy and the random policy, all seeds are used. With one seed and a 0/1
    outcome, the test is McNemar's; otherwise it is the sign-flip test of the differences by state. The test
    treats initial states as random and the trained policies as fixed. The interval is that of a
    bounded mean over states (`bounded_mean`) or, with two or more shared seeds, the two-level bootstrap over
    seeds and states. None if a cell is empty or the cells share no state. Raises UserError if an episode
    number has another task or another initial state in the other cell.
    """
    if first.empty or second.empty:
        return None
    shared = set(first["seed"]) & set(second["seed"])
    if shared:
        first, second = first[first["seed"].isin(shared)], second[second["seed"].isin(shared)]
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
    seeds = _per_seed(first, second, metric, both.index) if len(shared) > 1 else None
    most = maximum(first["benchmark"].iloc[0], metric)
    if seeds is None:
        low, high = bounded_mean(difference, (-most, most))
    else:
        low, high = two_level_bootstrap(*seeds, bounds=(-most, most))
    deviation = float(difference.std(ddof=1)) if len(both) > 1 else 0.0
    return Comparison(
        difference=float(difference.mean()),
        ci_low=low,
        ci_high=high,
        p_value=mcnemar(wins, losses) if binary else sign_flip(whole),
        test=MCNEMAR if binary else "sign-flip",
        states=len(both),
        wins=wins,
        losses=losses,
        effect_size=float(difference.mean()) / deviation if deviation > 0 else None,
        seeds=len(shared),
    )


def _per_seed(
    first: pd.DataFrame, second: pd.DataFrame, metric: str, episodes: pd.Index
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Differences (seeds, states) and, if an episode has a single task, the tasks of the states.

    If a seed has no outcome for a state in one of the cells, the difference is the mean over the other seeds.
    None if fewer than two seeds remain.
    """
    left, right = (
        side.assign(outcome=outcome(side, metric)).pivot(index="seed", columns="episode", values="outcome")
        for side in (first, second)
    )
    table = (left - right).reindex(columns=episodes).dropna(how="all").dropna(axis=1, how="all")
    if len(table) < 2 or table.empty:
        return None
    differences = np.where(table.isna(), table.mean(axis=0), table)
    if metric != "success_rate":
        return differences, None
    return differences, first.drop_duplicates("episode").set_index("episode")["task"][
        table.columns
    ].to_numpy()


def _per_state(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """By episode: sum of the outcomes over training seeds, number of seeds, task and initial state."""
    frame = records.assign(outcome=outcome(records, metric))
    return frame.groupby("episode").agg(
        total=("outcome", "sum"),
        seeds=("seed", "nunique"),
        task=("task", "first"),
        initial_state=("initial_state", "first"),
    )
