"""Compare two printed success rates of which only the trials and the number of training seeds are known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from scipy.stats import fisher_exact

from vlm4vla.analysis.unpaired import UnpairedRates, boschloo, newcombe, whole_neighbours

EXACT = 1000  # trials a side up to which Boschloo's test is used; above, Fisher's, which is faster and valid
SEARCHED = 60  # trials up to which the needed trials are searched with the exact test
MOST_NEEDED = 10_000_000


@dataclass(frozen=True)
class PrintedRate:
    """A rate from 0 to 1 over `trials` rollouts of each of `seeds` policies.

    `counts`: the whole numbers of successes, of all `trials` x `seeds` rollouts, that round to the printed
    rate; empty if there are none.
    """

    value: float
    trials: int
    seeds: int = 1
    counts: Sequence[int] = ()

    @property
    def total(self) -> int:
        """All rollouts, of all seeds."""
        return self.trials * self.seeds

    def extremes(self) -> list[int]:
        """The smallest and the largest possible count; if none is possible, the counts next to the rate."""
        if self.counts:
            return sorted({min(self.counts), max(self.counts)})
        return whole_neighbours(self.value * self.total, self.total)


def compare_printed(first: PrintedRate, second: PrintedRate) -> UnpairedRates:
    """Compare two printed rates. `p_value` is the largest, `p_least` the smallest p that they allow.

    The test tries every count that rounds to a printed rate, through the smallest and the largest. With
    several seeds, the policies may have run on the same initial states. A mean over seeds is then a mean over
    states whose variance is at most that of one trial per state. So the largest p and the interval use
    `trials` of one seed, and the smallest p uses the rollouts of all seeds.
    """
    first_total, second_total = first.total, second.total
    p = [
        exact(one, first_total, other, second_total)
        for one in first.extremes()
        for other in second.extremes()
    ]
    if max(first.seeds, second.seeds) > 1:
        p += [
            exact(one, first.trials, other, second.trials)
            for one in whole_neighbours(first.value * first.trials, first.trials)
            for other in whole_neighbours(second.value * second.trials, second.trials)
        ]
    low, high = newcombe(
        first.value * first.trials, first.trials, second.value * second.trials, second.trials
    )
    test = "Boschloo" if max(first_total, second_total) <= EXACT else "Fisher"
    return UnpairedRates(first.value - second.value, low, high, max(p), min(p), test)


def exact(one: int, first: int, other: int, second: int) -> float:
    """Two-sided p value of Boschloo's test, or of Fisher's above EXACT trials."""
    if max(first, second) <= EXACT:
        return boschloo(one, first, other, second)
    return float(fisher_exact([[one, first - one], [other, second - other]]).pvalue)


@functools.lru_cache(maxsize=4096)
def rate_trials_needed(first: float, second: float, level: float) -> int | None:
    """Trials of each policy at which printed rates `first` and `second` differ significantly at `level`.

    Normal test with the pooled variance: n = 2 z² m (1 - m) / d², with the mean m and the difference d. Up to
    SEARCHED trials, the exact test is used instead, with the counts next to the rates that support a
    difference least. None if the rates are equal or more than MOST_NEEDED trials are needed.
    """
    if first == second:
        return None
    mean = (first + second) / 2
    guess = 2 * _z(level) ** 2 * mean * (1 - mean) / (first - second) ** 2
    if guess > SEARCHED:
        return _whole(guess)

    def significant(trials: int) -> bool:
        return all(
            boschloo(one, trials, other, trials) < level
            for one in whole_neighbours(first * trials, trials)
            for other in whole_neighbours(second * trials, trials)
        )

    return _smallest(significant, math.ceil(guess) + 1)


def _smallest(significant: Callable[[int], bool], high: int) -> int:
    """The smallest number of trials, by bisection. Near it, p does not fall with every further trial."""
    while not significant(high):
        high += max(1, high // 4)
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if significant(middle) else (middle, high)
    return high


def _whole(trials: float) -> int | None:
    return math.ceil(trials) if trials <= MOST_NEEDED else None


def _z(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)
