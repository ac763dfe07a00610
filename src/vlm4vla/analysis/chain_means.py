"""The uncertainty of a published mean number of instructions solved in a chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from vlm4vla.analysis.intervals import LEVEL
from vlm4vla.conventions.benchmarks import CALVIN

LENGTH = CALVIN.instructions_per_episode  # published chains are CALVIN's


@dataclass(frozen=True)
class ChainMean:
    """A mean, from 0 to 5, over `chains` chains, with the bounds of the variance over chains.

    `error`: the largest possible error of the mean, if it was read from a figure.
    """

    mean: float
    chains: int
    least_variance: float
    most_variance: float
    error: float = 0.0

    @property
    def known(self) -> bool:
        """Whether the published numbers determine the variance."""
        return self.most_variance == self.least_variance

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Normal interval with the largest possible variance, widened by `error` and clipped to 0 to 5."""
        half = _z(level) * math.sqrt(self.most_variance / self.chains) + self.error
        return max(0.0, self.mean - half), min(float(LENGTH), self.mean + half)


def from_mean(mean: float, chains: int) -> ChainMean:
    """The bounds of the variance from the mean alone, for whole numbers from 0 to 5.

    The variance is smallest if all chains have one of the two whole numbers next to the mean. It is largest
    if all chains have 0 or 5 (Bhatia and Davis 2000).
    """
    part = mean - math.floor(mean)
    return ChainMean(mean, chains, part * (1 - part), mean * (LENGTH - mean))


def from_rates(rates: Sequence[float], chains: int, error: float = 0.0) -> ChainMean:
    """Mean and variance from the success rates at 1 to 5, which determine the whole distribution.

    The mean is the sum of the rates, and the mean square is the sum of (2 k - 1) rate_k. `error`: the largest
    possible error of each rate. Raises ValueError unless there are five rates that do not increase.
    """
    rates = list(rates)
    falling = all(later <= earlier for earlier, later in zip([1.0, *rates], [*rates, 0.0], strict=True))
    if len(rates) != LENGTH or not falling:
        raise ValueError(f"{rates} are not {LENGTH} rates from 1 to 0 that do not increase")
    mean = sum(rates)
    variance = sum((2 * k - 1) * rate for k, rate in enumerate(rates, start=1)) - mean * mean
    return ChainMean(mean, chains, max(0.0, variance), max(0.0, variance), error * len(rates))


@dataclass(frozen=True)
class MeanDifference:
    """First minus second mean, with the widest interval. The p value is between `p_least` and `p_most`."""

    difference: float
    ci_low: float
    ci_high: float
    p_least: float
    p_most: float
    test: str = "normal"


def compare_means(first: ChainMean, second: ChainMean, level: float = LEVEL) -> MeanDifference:
    """Two-sided test of the difference of two means of unpaired chains, from the bounds of their variances.

    `p_most` is valid for any distribution of the chains: it uses the largest variances and a difference that
    is smaller by both errors. `p_least` is the smallest p value that any distribution with these means can
    give.
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
