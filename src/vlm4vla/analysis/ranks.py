"""The place of each model on one benchmark, and how far another draw of episodes moves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from vlm4vla.analysis.intervals import LEVEL, SEED
from vlm4vla.analysis.records import outcome

RESAMPLES = 4000


@dataclass(frozen=True)
class Rank:
    """`place`: 1 is the best, ties share the mean of their places. `best`: share of the resamples in which
    the model comes first, a shared first place counted in parts."""

    place: float
    ci_low: float
    ci_high: float
    best: float


def ranks(outcomes: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> list[Rank]:
    """One Rank a row of `outcomes` (models, initial states): a larger mean is a better place.

    Initial states are drawn again for all models together (percentile bootstrap, 95 %), because all met the
    same ones. Raises ValueError when there is no model or no state.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    if outcomes.ndim != 2 or 0 in outcomes.shape:
        raise ValueError(f"outcomes of shape {outcomes.shape}: write (models, initial states)")
    states = outcomes.shape[1]
    counts = np.random.default_rng(seed).multinomial(states, np.full(states, 1 / states), size=resamples)
    means = (counts @ outcomes.T / states).round(12)  # sums in another order must not part ties
    drawn = rankdata(-means, axis=1)
    first = means == means.max(axis=1, keepdims=True)
    best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    place = rankdata(-outcomes.mean(axis=1).round(12))
    # a percentile interval can miss the estimate where ties are common
    low, high = np.minimum(low, place), np.maximum(high, place)
    return [Rank(*map(float, each)) for each in zip(place, low, high, best, strict=True)]


def ranks_on(
    records: pd.DataFrame, policies: Sequence[tuple[str, str]], benchmark: str, metric: str
) -> dict[tuple[str, str], Rank]:
    """Ranks of those `policies` (model, variant) that have records on `benchmark`, on the initial states that
    all of them met; each state enters with its mean over training seeds. Empty when there are none."""
    own = records[(records["benchmark"] == benchmark) & (records["auxiliary"] == "none")]
    if own.empty:
        return {}
    wide = (
        own.assign(outcome=outcome(own, metric))
        .pivot_table(index=["model", "variant"], columns="episode", values="outcome", aggfunc="mean")
        .reindex(
            [policy for policy in policies if policy in set(zip(own["model"], own["variant"], strict=True))]
        )
        .dropna(axis=1)
    )
    if 0 in wide.shape:
        return {}
    return dict(zip(wide.index, ranks(wide.to_numpy()), strict=True))
