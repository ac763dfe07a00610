"""One policy's score as a share of another one's, on the same initial states, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize

from vlm4vla.analysis.hierarchical import two_level_bootstrap
from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED
from vlm4vla.analysis.records import outcome
from vlm4vla.analysis.stopped import interval_level
from vlm4vla.conventions.benchmarks import maximum

_MOST = 100.0  # the largest share that is looked for
_TOLERANCE = 1e-5  # of the limits with several seeds


@dataclass(frozen=True)
class Share:
    """`value` is the mean of the first policy divided by the mean of the second policy.

    `ci_high` is None if the second mean may be 0, so that no share is too large.
    """

    value: float
    ci_low: float
    ci_high: float | None


def share(first: pd.DataFrame, second: pd.DataFrame, metric: str, level: float = LEVEL) -> Share | None:
    """The share of `second`'s mean that `first` reaches, over shared training seeds and initial states.

    `first` and `second` are the records of two cells. A share c is in the interval unless the interval of the
    mean of (first - c second) over states excludes 0, as in Fieller (1954), "Some problems in interval
    estimation". Here the interval of the mean is that of `intervals.bounded_mean`, or with several seeds that
    of `hierarchical.two_level_bootstrap`. After rollouts that could stop early, it is valid at every look
    (`stopped.interval_level`). None without shared seeds and states, or if the second mean is 0.
    """
    left, right = (
        side.assign(outcome=outcome(side, metric)).pivot(index="seed", columns="episode", values="outcome")
        for side in (first, second)
    )
    seeds, states = left.index.intersection(right.index), left.columns.intersection(right.columns)
    left, right = left.loc[seeds, states], right.loc[seeds, states]
    kept = ~(left.isna() | right.isna()).any(axis=0)
    one, two = (side.loc[:, kept].to_numpy(dtype=np.float64) for side in (left, right))
    if one.size == 0 or two.mean() == 0:
        return None
    most, level = maximum(first["benchmark"].iloc[0], metric), interval_level(first, second, level=level)
    low, high = _one_seed(one[0], two[0], most, level) if len(one) == 1 else _seeds(one, two, most, level)
    return Share(float(one.mean() / two.mean()), low, high)


def _one_seed(one: np.ndarray, two: np.ndarray, most: float, level: float) -> tuple[float, float | None]:
    """The interval from outcomes (n,). With the weights of `bounded_mean` drawn once, the shares at which the
    interval of the mean touches 0 are quantiles of the resampled shares.

    The value that joins the others is the one that is most against the limit: a state that only the first
    policy solves for the upper limit, and one that only the second policy solves for the lower limit.
    """
    pairs, counts = np.unique(np.stack([one, two], axis=1), axis=0, return_counts=True)
    random = np.random.default_rng(SEED)
    weights = random.standard_gamma([*counts, 1], size=(RESAMPLES, len(counts) + 1))
    drawn, more = weights[:, :-1] @ pairs, weights[:, -1] * most
    tail = (1 - level) / 2
    with np.errstate(divide="ignore"):
        upper = np.quantile((drawn[:, 0] + more) / drawn[:, 1], 1 - tail)
    lower = np.quantile(drawn[:, 0] / (drawn[:, 1] + more), tail)
    return float(lower), float(upper) if upper <= _MOST else None


def _seeds(one: np.ndarray, two: np.ndarray, most: float, level: float) -> tuple[float, float | None]:
    """The interval from outcomes (seeds, states), by root finding."""

    def interval(part: float) -> tuple[float, float]:
        return two_level_bootstrap(one - part * two, bounds=(-part * most, most), level=level)

    def first_below(limit: int) -> float:
        """The share at which the lower (0) or upper (1) limit of the mean, which falls with it, reaches 0."""
        if none[limit] <= 0:
            return 0.0
        if whole[limit] > 0:
            return _MOST
        return float(optimize.brentq(lambda part: interval(part)[limit], 0.0, _MOST, xtol=_TOLERANCE))

    none, whole = interval(0.0), interval(_MOST)
    return first_below(0), first_below(1) if whole[1] <= 0 else None
