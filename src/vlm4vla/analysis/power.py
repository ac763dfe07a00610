"""How many paired initial states would tell two policies apart, were the difference seen the true one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from scipy import stats

POWER, LEVEL = 0.8, 0.05
MOST = 1_000_000  # beyond that the answer is "more than this study's benchmarks will ever have"


def mcnemar_power(win_rate: float, loss_rate: float, states: int, level: float = LEVEL) -> float:
    """Power of the exact two-sided McNemar test on `states` paired states.

    `win_rate` and `loss_rate`: the shares of states where only the first and only the second policy succeeds.
    The number of discordant pairs is binomial; given it, the wins are. Sums of less than 1e-9 are left out.
    Raises ValueError for rates that are no shares.
    """
    discordant = win_rate + loss_rate
    if min(win_rate, loss_rate) < 0 or discordant > 1 + 1e-12:
        raise ValueError(f"{win_rate} and {loss_rate} are no shares of states")
    if discordant == 0 or states < 1:
        return 0.0
    counts = stats.binom(states, min(discordant, 1.0))
    pairs = np.arange(int(counts.ppf(5e-10)), int(counts.isf(5e-10)) + 1)
    critical = _critical(int(pairs[-1]), level)[pairs]  # reject when wins or losses are at most that few
    share = win_rate / discordant
    rejects = stats.binom.cdf(critical, pairs, share) + stats.binom.cdf(critical, pairs, 1 - share)
    return float((counts.pmf(pairs) * rejects).sum())


@lru_cache(maxsize=64)
def _critical_up_to(most: int, level: float) -> np.ndarray:
    """For 0, 1, ... `most` fair tosses: the largest k with 2 P(at most k heads) <= `level`, or -1."""
    tosses = np.arange(most + 1)
    k = stats.binom.ppf(level / 2, tosses, 0.5)
    k = np.nan_to_num(k, nan=-1.0).astype(int)
    # ppf gives the first k whose probability reaches the level; the test needs the last that does not pass it
    k = np.where(2 * stats.binom.cdf(k, tosses, 0.5) <= level, k, k - 1)
    return np.maximum(k, -1)


def _critical(most: int, level: float) -> np.ndarray:
    return _critical_up_to(1 << max(8, most.bit_length()), level)


def mean_power(effect_size: float, states: int, level: float = LEVEL) -> float:
    """Power of the paired t test (noncentral t) at `effect_size`, the mean difference over its deviation.

    It stands for the sign-flip permutation test, whose power comes to the same for growing n (Hoeffding
    1952, "The large-sample power of tests based on permutations of observations").
    """
    if states < 2:
        return 0.0
    freedom, shift = states - 1, abs(effect_size) * math.sqrt(states)
    limit = float(stats.t.isf(level / 2, freedom))
    if shift > 37:  # scipy's noncentral t loses its digits out there
        return 1.0
    return float(stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift))


def episodes_needed(
    differences: np.ndarray, *, binary: bool, power: float = POWER, level: float = LEVEL
) -> int | None:
    """Paired initial states for `power` at the effect in `differences` (states,), one number a state.

    `binary`: differences of two successes (-1, 0, 1), told apart by McNemar's test; otherwise the sign-flip
    test's. The search is by halves: the exact test's power has small teeth, so a state or two fewer may do
    too. None where the mean difference is 0 (no number would do) or more than a million states are needed.
    Raises ValueError for no differences, or others than -1, 0 and 1 where they are `binary`.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size == 0:
        raise ValueError("no differences")
    mean = float(differences.mean())
    if mean == 0:
        return None
    if binary:
        if not np.isin(differences, (-1, 0, 1)).all():
            raise ValueError("differences of successes are -1, 0 or 1")
        wins, losses = float((differences > 0).mean()), float((differences < 0).mean())
        guess = connor(wins, losses, power, level)
        return _least(lambda states: mcnemar_power(wins, losses, states, level), power, guess)
    deviation = float(differences.std(ddof=1)) if differences.size > 1 else 0.0
    if deviation == 0:  # every state alike: the fewest states at which 2 of 2^n patterns are rare enough
        return math.ceil(math.log2(2 / level))
    normal = NormalDist()
    guess = ((normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * deviation / mean) ** 2
    return _least(lambda states: mean_power(mean / deviation, states, level), power, guess)


def connor(win_rate: float, loss_rate: float, power: float = POWER, level: float = LEVEL) -> float:
    """Paired states for McNemar's test, normal approximation (Connor 1987, Biometrics 43, 207-211)."""
    normal, difference, discordant = NormalDist(), win_rate - loss_rate, win_rate + loss_rate
    spread = normal.inv_cdf(1 - level / 2) * math.sqrt(discordant)
    spread += normal.inv_cdf(power) * math.sqrt(max(0.0, discordant - difference**2))
    return (spread / difference) ** 2


def _least(power_at: Callable[[int], float], wanted: float, guess: float) -> int | None:
    """The least number of states with the `wanted` power, looked for around `guess`."""
    if guess > MOST:
        return None
    high = max(2, math.ceil(guess))
    while power_at(high) < wanted:
        high = math.ceil(1.1 * high) + 1
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= wanted else (middle, high)
    return high if high <= MOST else None
