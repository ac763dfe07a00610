"""A comparison that may stop early: a betting test that holds whenever one looks. Off in every table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# shares of the capital that are staked, the same for all comparisons; their mean is a bet too
_STAKES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class SequentialTest:
    """`stopped_at`: states until the decision, None when there was none. `capital` is what it had grown to.

    `p_value` holds at any stopping time; `sign` is the direction of the decision, 0 without one.
    """

    stopped_at: int | None
    sign: int
    states: int
    capital: float
    p_value: float


def capital(differences: np.ndarray, bound: float) -> np.ndarray:
    """Capital after each state of a gambler who bets on `differences` (states,), starting from 1.

    Half of it is staked on the first policy, half on the second, each at stakes from 5 to 95 %: the mean
    over stakes of prod(1 + stake x difference / bound). While every difference has mean 0 given those
    before, each product is a martingale that is never negative, and so is their mean. Differences lie
    within [-bound, bound].
    """
    return np.exp(_logs(differences, bound)).reshape(-1, 2 * len(_STAKES)).mean(axis=1)


def _logs(differences: np.ndarray, bound: float) -> np.ndarray:
    """Logarithm of the capital of each bet (states, 2 directions, stakes)."""
    share = np.asarray(differences, dtype=np.float64) / bound
    if not (np.abs(share) <= 1 + 1e-12).all():
        raise ValueError(f"a difference is outside of [-{bound}, {bound}]")
    bets = np.stack([_STAKES, -_STAKES])
    return np.log1p(share[:, None, None] * bets).cumsum(axis=0)


def sequential_test(differences: np.ndarray, bound: float = 1.0, level: float = 0.05) -> SequentialTest:
    """Stop at the first state where the capital reaches 1 / level.

    `differences` (states,): outcome of the first policy minus that of the second, in the order in which the
    initial states were met, which must not depend on outcomes; `bound`: the largest difference that can be
    (1 for successes, 5 for a chain's length). The chance that the capital ever reaches 1 / level without a
    true difference is at most `level`, however often one looks (Ville 1939; as a test of bounded means
    Waudby-Smith and Ramdas 2024, JRSS B 86, "Estimating means of bounded random variables by betting").
    What is known at the stop is the direction: the mean difference of a comparison that stopped is too
    large on average.

    Raises ValueError for a difference outside of the bound or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level}: write a number between 0 and 1")
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size == 0:
        return SequentialTest(None, 0, 0, 1.0, 1.0)
    grown = capital(differences, bound)
    reached = np.flatnonzero(grown >= 1 / level)
    stop = int(reached[0]) if len(reached) else None
    last = differences.size - 1 if stop is None else stop
    sign = 0
    if stop is not None:
        sides = np.exp(_logs(differences[: stop + 1], bound)[-1]).mean(axis=1)
        sign = 1 if sides[0] > sides[1] else -1
    return SequentialTest(
        stopped_at=None if stop is None else stop + 1,
        sign=sign,
        states=last + 1,
        capital=float(grown[last]),
        p_value=float(min(1.0, 1 / grown[: last + 1].max())),
    )
