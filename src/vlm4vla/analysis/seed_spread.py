"""Several training seeds: how far apart the seeds of a table's policies are, and tests that include it.

A score differs from its expectation for two reasons: other initial states and other training seeds. The test
of paired differences over states knows the first one only. Here, the variance between seeds is pooled over
all policies of a table, because two to five seeds of one policy determine it badly.
`speed/seed_tests.py` measures how often a table of equal policies gets a mark, and the power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from vlm4vla.analysis.intervals import LEVEL

# Nodes of the integral over chi-square quantiles: evenly spaced logits of the probability.
_LOGITS = np.linspace(-14.0, 14.0, 71)
_PROBABILITY = special.expit(_LOGITS)
_WEIGHT = _PROBABILITY * (1 - _PROBABILITY)
_WEIGHT /= _WEIGHT.sum()


@dataclass(frozen=True)
class SeedSpread:
    """The pooled variance between training seeds, relative to (u (1 - u))^2 for a score u from 0 to 1.

    On this scale the variance of seeds that differ by a normal shift in logits is about the same for all
    scores: the square of the shift's deviation. `observed`: the variance of the seeds' means, which includes
    the luck of their episodes. `luck`: the expected part of luck. `freedom`: the degrees of freedom.
    """

    observed: float
    luck: float
    freedom: float

    @property
    def deviation(self) -> float:
        """The estimated standard deviation between seeds, in logits of the score."""
        return float(np.sqrt(max(0.0, self.observed - self.luck)))

    def draws(self) -> np.ndarray:
        """Values (k,) of the seeds' variance without luck that the data leave possible (`_WEIGHT` weighs).

        `observed` times `freedom` over the true variance has a chi-square distribution. So its quantiles give
        the fiducial distribution of the true variance, from which luck is subtracted (generalised inference
        for variance components: Tsui and Weerahandi 1989; Weerahandi 1995).
        """
        quantiles = _quantiles(self.freedom)
        return np.maximum(self.observed / np.maximum(quantiles, 1e-30) - self.luck, 0.0)


@lru_cache(maxsize=64)
def _quantiles(freedom: float) -> np.ndarray:
    """Quantiles of chi-square over its degrees of freedom; cached, because all pairs share them."""
    found = stats.chi2.ppf(_PROBABILITY, freedom) / freedom
    found.setflags(write=False)
    return found


@dataclass(frozen=True)
class SeedMeans:
    """What a policy contributes: its `score` from 0 to 1, and variances in units of the score from 0 to 1.

    `variance`: of the means of its `seeds` over the states. `luck`: the expected part of it that is luck on
    the states.
    """

    score: float
    seeds: int
    states: int
    variance: float
    luck: float

    @classmethod
    def of(cls, outcomes: np.ndarray, most: float) -> SeedMeans:
        """From `outcomes` (seeds, states), from 0 to `most`. A single seed has the variance 0."""
        values = np.asarray(outcomes, dtype=np.float64) / most
        seeds, states = values.shape
        by_seed = values.mean(axis=1)
        variance = luck = 0.0
        if seeds > 1:
            variance = float(by_seed.var(ddof=1))
            if states > 1:
                rest = values - by_seed[:, None] - values.mean(axis=0) + by_seed.mean()
                luck = float((rest**2).sum()) / ((seeds - 1) * (states - 1)) / states
        return cls(float(by_seed.mean()), seeds, states, variance, luck)


def scale(score: float, states: int) -> float:
    """(u (1 - u))^2, where half an outcome of each kind joins `states` outcomes, so that it is never 0."""
    inside = (score * states + 0.5) / (states + 1)
    return (inside * (1 - inside)) ** 2


def pooled_spread(policies: Sequence[SeedMeans]) -> SeedSpread | None:
    """The spread of the seeds over `policies`. None if no policy has two seeds.

    Policies with scores near 0 or 1 have little weight, because their seeds cannot differ much. The degrees
    of freedom are those of Satterthwaite (1946): policies times (seeds - 1) if all scores are alike.
    """
    several = [policy for policy in policies if policy.seeds > 1]
    if not several:
        return None
    freedom = np.array([policy.seeds - 1 for policy in several], dtype=np.float64)
    scales = np.array([scale(policy.score, policy.states) for policy in several])
    total = float(freedom @ scales)
    return SeedSpread(
        observed=float(freedom @ [policy.variance for policy in several]) / total,
        luck=float(freedom @ [policy.luck for policy in several]) / total,
        freedom=total**2 / float(freedom @ scales**2),
    )


@dataclass(frozen=True)
class SeedTest:
    """The distribution of an estimated mean or difference around its expectation, over seeds and states.

    `variances` (k,): possible variances of the estimate, with weights. `freedom`: of the part of the states.
    """

    variances: np.ndarray
    freedom: float

    def p_value(self, distance: float) -> float:
        """Two-sided p value of an estimate at `distance` from the hypothesis: a mixture of t tests."""
        return float(_WEIGHT @ self._tails(abs(distance)))

    def half_width(self, level: float = LEVEL) -> float:
        """Half the width of the interval that belongs to `p_value`; 0 if nothing varies."""
        top = float(np.sqrt(self.variances.max()))
        if top == 0:
            return 0.0
        high = top
        while self.p_value(high) > 1 - level:
            high *= 2
        return float(optimize.brentq(lambda half: self.p_value(half) - (1 - level), 0.0, high, xtol=1e-7))

    def _tails(self, distance: float) -> np.ndarray:
        if distance == 0:
            return np.ones(len(self.variances))
        with np.errstate(divide="ignore"):
            return 2 * special.stdtr(self.freedom, -distance / np.sqrt(self.variances))


def difference_test(
    first: SeedMeans, second: SeedMeans, by_state: np.ndarray, spread: SeedSpread, most: float
) -> SeedTest:
    """The test of the mean of `by_state` (states,), first minus second, in the unit of the score.

    Its variance has two parts. The seeds' part is that of `spread`, at the mean score of both policies, but
    not less than what the seeds of these two policies show. The states' part is the variance of the paired
    differences, which includes luck. A policy with one seed, such as random actions, has no seeds' part.
    """
    shares = [1 / side.seeds for side in (first, second) if side.seeds > 1]
    middle = scale((first.score + second.score) / 2, len(by_state))
    own = sum((side.variance - side.luck) / side.seeds for side in (first, second) if side.seeds > 1)
    seeds = np.maximum(spread.draws() * middle * sum(shares), own) * most**2
    states = float(np.var(by_state, ddof=1)) / len(by_state) if len(by_state) > 1 else 0.0
    return SeedTest(np.maximum(seeds, 0.0) + states, max(1.0, len(by_state) - 1.0))


def mean_interval(
    outcomes: np.ndarray,
    task: np.ndarray,
    spread: SeedSpread | None = None,
    most: float = 1.0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Interval of a policy's mean of `outcomes` (seeds, states), from 0 to `most`, for two or more seeds.

    It contains every mean that a test does not reject. As in `difference_test`, the variance is that of the
    seeds (`spread`, pooled over a table, or else of this policy alone) at the tested mean, and that of the
    states. `task` (states,): numbers from 0; the states vary within their tasks, of which the benchmark
    consists. So the interval is longer towards the middle of the scale, where seeds differ more, as Wilson's.

    One more state with 0 or `most` can move the mean by a share of Beta(1, states), as in
    `intervals.bounded_mean`. Its limit is added to each side of the interval as a square root of squares
    (Zou and Donner 2008). So with 0 of n for every seed of a table, the upper limit is that of Clopper and
    Pearson. Raises ValueError for a single seed without `spread`.
    """
    own = SeedMeans.of(outcomes, most)
    spread = pooled_spread([own]) if spread is None else spread
    if spread is None:
        raise ValueError("outcomes of two or more seeds are needed")
    draws, least = spread.draws() / own.seeds, max(0.0, own.variance - own.luck) / own.seeds
    by_state = np.asarray(outcomes, dtype=np.float64).mean(axis=0) / most
    states, counts = len(by_state), np.bincount(task)
    rest = by_state - (np.bincount(task, by_state) / counts)[task]
    freedom = states - len(counts)
    of_states = float((rest**2).sum()) / freedom / states if freedom else 0.0

    def excess(tested: float) -> float:
        """The p value of the mean `tested`, above the level."""
        variances = np.maximum(draws * scale(tested, states), least) + of_states
        return SeedTest(variances, max(1.0, freedom)).p_value(own.score - tested) - (1 - level)

    weight = float(stats.beta.isf((1 - level) / 2, 1, states))
    limits = []
    for end in (0.0, 1.0):
        limit = end if excess(end) > 0 else float(optimize.brentq(excess, end, own.score, xtol=1e-7))
        reach = math.hypot(limit - own.score, weight * (end - own.score))
        limits.append(most * (max(0.0, own.score - reach) if end == 0 else min(1.0, own.score + reach)))
    return limits[0], limits[1]
