"""The number of paired initial states needed to separate two policies with an observed difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from scipy import special, stats

POWER, LEVEL = 0.8, 0.05
MOST = 1_000_000  # states; a larger number is of no use, because no benchmark has so many
# Above these numbers of states, normal approximations are used. Their errors there are one percent for
# McNemar's test and two states for the t test.
_MANY_PAIRS, _MANY_MEANS = 10_000, 1_000


def mcnemar_power(win_rate: float, loss_rate: float, states: int, level: float = LEVEL) -> float:
    """Power of the exact two-sided McNemar test on `states` paired states.

    `win_rate`, `loss_rate`: the shares of states at which only the first or only the second policy succeeds.
    The number of discordant pairs is binomial, and so is the number of wins among them. Numbers of pairs more
    than seven standard deviations from the mean are left out. Raises ValueError if the rates are not shares.
    """
    discordant = win_rate + loss_rate
    if min(win_rate, loss_rate) < 0 or discordant > 1 + 1e-12:
        raise ValueError(f"win_rate {win_rate} and loss_rate {loss_rate} must be shares of the states")
    if discordant == 0 or states < 1:
        return 0.0
    most = min(discordant, 1.0)
    spread = 7 * math.sqrt(states * most * (1 - most)) + 20
    pairs = np.arange(max(0, int(states * most - spread)), min(states, int(states * most + spread)) + 1)
    weights = stats.binom.pmf(pairs, states, most)
    critical = _critical(pairs, level)  # reject if the wins or the losses are at most this number
    share = win_rate / discordant
    rejects = special.bdtr(np.maximum(critical, 0), pairs, share)
    rejects += special.bdtr(np.maximum(critical, 0), pairs, 1 - share)
    return float((weights * np.where(critical < 0, 0.0, rejects)).sum())


def _critical(tosses: np.ndarray, level: float) -> np.ndarray:
    """For each number of fair tosses, the largest k with 2 P(at most k heads) <= `level`, or -1."""
    # The first guess is the normal approximation, which is about one too low.
    guess = (tosses - stats.norm.isf(level / 2) * np.sqrt(tosses)) / 2 - 1
    k = np.maximum(np.floor(guess), -1)
    while True:
        more = (k < tosses) & (2 * special.bdtr(k + 1, tosses, 0.5) <= level)
        if not more.any():
            break
        k += more
    while True:
        less = (k >= 0) & (2 * special.bdtr(np.maximum(k, 0), tosses, 0.5) > level)
        if not less.any():
            return k
        k -= less


def mean_power(effect_size: float, states: int, level: float = LEVEL) -> float:
    """Power of the paired t test (noncentral t) on `states` paired states.

    `effect_size`: the mean difference divided by its standard deviation. The t test replaces the sign-flip
    permutation test, because the powers of both converge as n grows (Hoeffding 1952, "The large-sample power
    of tests based on permutations of observations").
    """
    if states < 2:
        return 0.0
    freedom, shift = states - 1, abs(effect_size) * math.sqrt(states)
    limit = float(stats.t.isf(level / 2, freedom))
    # SciPy's noncentral t is NaN where the probability of a tail is too small.
    missed = np.nan_to_num(stats.nct.cdf(limit, freedom, shift), nan=0.0)
    opposite = np.nan_to_num(stats.nct.cdf(-limit, freedom, shift), nan=0.0)
    return float(1 - missed + opposite)


def episodes_needed(
    differences: np.ndarray, *, binary: bool, power: float = POWER, level: float = LEVEL
) -> int | None:
    """Number of paired initial states needed for `power` at the effect in `differences` (states,).

    `binary`: the differences are those of two successes (-1, 0, 1) and the test is McNemar's; otherwise the
    test is the sign-flip test. The number is found by bisection. The power of an exact test is not monotonic
    in small steps, so one or two states fewer can also be enough. Above 10,000 states (McNemar) or 1,000
    states (sign-flip), the normal approximation is used. The number is asked for a pair that these states
    leave undecided, so it is larger than their number. None if the mean difference is 0, so that no number is
    enough, or if more than a million states are needed. Raises ValueError if there are no differences, or if
    `binary` differences are not -1, 0 or 1.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size == 0:
        raise ValueError("no differences")
    if binary and not np.isin(differences, (-1, 0, 1)).all():
        raise ValueError("binary differences must be -1, 0 or 1")
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1)) if differences.size > 1 else 0.0
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    needed = needed_states(
        differences.size,
        wins,
        losses,
        mean / deviation if deviation > 0 else math.copysign(math.inf, mean) if mean else 0.0,
        binary=binary,
        power=power,
        level=level,
    )
    return beyond(needed, differences.size)


def needed_states(
    states: int,
    wins: int,
    losses: int,
    effect_size: float,
    *,
    binary: bool,
    power: float = POWER,
    level: float = LEVEL,
) -> int | None:
    """The number of paired states for `power` with a test at `level`, which may be below `states`.

    McNemar's test (`binary`) uses the shares of `wins` and `losses` among `states`. The sign-flip test uses
    `effect_size`, the mean difference divided by its standard deviation (infinite if all states are alike).
    It can never reject below `least_states`. None as in `episodes_needed`.
    """
    if binary:
        if wins == losses:
            return None
        rates = wins / states, losses / states
        guess = connor_sample_size(*rates, power, level)
        return _smallest_number(lambda count: mcnemar_power(*rates, count, level), power, guess, _MANY_PAIRS)
    if effect_size == 0:
        return None
    least = least_states(level)
    if math.isinf(effect_size):
        return least
    normal = NormalDist()
    guess = ((normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) / effect_size) ** 2
    needed = _smallest_number(lambda count: mean_power(effect_size, count, level), power, guess, _MANY_MEANS)
    return None if needed is None else max(least, needed)  # the t test could reject with fewer states


def least_states(level: float = LEVEL) -> int:
    """The smallest number of states with which a sign-flip test can reject: 2 / 2^n is at most `level`."""
    return math.ceil(math.log2(2 / level) - 1e-9)


def beyond(needed: int | None, states: int) -> int | None:
    """The needed number of a pair that is undecided with `states` states: at least one state more."""
    return None if needed is None else max(needed, states + 1)


def connor_sample_size(
    win_rate: float, loss_rate: float, power: float = POWER, level: float = LEVEL
) -> float:
    """Paired states needed for McNemar's test, normal approximation (Connor 1987, Biometrics 43, 207-211)."""
    normal, difference, discordant = NormalDist(), win_rate - loss_rate, win_rate + loss_rate
    spread = normal.inv_cdf(1 - level / 2) * math.sqrt(discordant)
    spread += normal.inv_cdf(power) * math.sqrt(max(0.0, discordant - difference**2))
    return (spread / difference) ** 2


def _smallest_number(power_at: Callable[[int], float], wanted: float, guess: float, many: int) -> int | None:
    """The smallest number of states with the power `wanted`, by bisection around `guess`.

    Above `many` states, the result is `guess` itself.
    """
    if guess > MOST:
        return None
    if guess > many:
        return math.ceil(guess)
    high = max(2, math.ceil(guess))
    while power_at(high) < wanted:
        high = math.ceil(1.1 * high) + 1
    low = 0 if guess < 100 else math.floor(0.8 * guess)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= wanted else (middle, high)
    return high if high <= MOST else None
