"""What the mean number of instructions solved in a chain says, and does not say, of its own uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from vlm4vla.analysis.intervals import LEVEL
from vlm4vla.conventions.benchmarks import INSTRUCTIONS_IN_A_CHAIN


@dataclass(frozen=True)
class ChainMean:
    """Mean of 0 to 5 over `chains`, and what its variance over chains is at least and at most.

    `error`: by how much the mean itself may be off, because it was read off a figure.
    """

    mean: float
    chains: int
    least_variance: float
    most_variance: float
    error: float = 0.0

    @property
    def known(self) -> bool:
        """Whether the variance follows from what was published."""
        return self.most_variance == self.least_variance

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Normal interval with the largest possible variance, widened by `error`, within 0 to 5."""
        half = _z(level) * math.sqrt(self.most_variance / self.chains) + self.error
        return max(0.0, self.mean - half), min(float(INSTRUCTIONS_IN_A_CHAIN), self.mean + half)


def from_mean(mean: float, chains: int) -> ChainMean:
    """All that a mean alone says: whole numbers from 0 to 5 with this mean have at least the variance of the
    two next to it, and at most that of nothing but 0 and 5 (Bhatia and Davis 2000)."""
    part = mean - math.floor(mean)
    return ChainMean(mean, chains, part * (1 - part), mean * (INSTRUCTIONS_IN_A_CHAIN - mean))


def from_rates(rates: Sequence[float], chains: int, error: float = 0.0) -> ChainMean:
    """From success at 1 to 5: they are the whole distribution, so mean and variance follow.

    `error`: by how much each rate may be off. The sum of rates is the mean, the sum of (2 k - 1) rate_k the
    mean square. Raises ValueError for rates that are not five, or that rise.
    """
    rates = list(rates)
    falling = all(later <= earlier for earlier, later in zip([1.0, *rates], [*rates, 0.0], strict=True))
    if len(rates) != INSTRUCTIONS_IN_A_CHAIN or not falling:
        raise ValueError(f"{rates} are not five rates that fall")
    mean = sum(rates)
    variance = sum((2 * k - 1) * rate for k, rate in enumerate(rates, start=1)) - mean * mean
    return ChainMean(mean, chains, max(0.0, variance), max(0.0, variance), error * len(rates))


@dataclass(frozen=True)
class MeanDifference:
    """First minus second mean, with the widest interval; p lies between `p_least` and `p_most`."""

    difference: float
    ci_low: float
    ci_high: float
    p_least: float
    p_most: float
    test: str = "normal"


def compare_means(first: ChainMean, second: ChainMean, level: float = LEVEL) -> MeanDifference:
    """Two-sided test of the difference from what the variances can be, for unpaired chains.

    `p_most` is valid whatever the chains' distribution: largest variances, and the difference smaller by both
    errors; `p_least` is the smallest that any distribution with these means could have given.
    """
    difference, error = first.mean - second.mean, first.error + second.error
    most = math.sqrt(first.most_variance / first.chains + second.most_variance / second.chains)
    least = math.sqrt(first.least_variance / first.chains + second.least_variance / second.chains)
    half = _z(level) * most + error
    distance = abs(difference)
    return MeanDifference(
        difference,
        difference - half,
        difference + half,
        _two_sided(distance + error, least),
        _two_sided(max(0.0, distance - error), most),
    )


def _z(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2)


def _two_sided(distance: float, deviation: float) -> float:
    if distance == 0:
        return 1.0
    return math.erfc(distance / deviation / math.sqrt(2)) if deviation > 0 else 0.0
