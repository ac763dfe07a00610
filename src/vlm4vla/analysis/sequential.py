"""A sequential comparison that can stop early: a test by betting. No table uses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Shares of the capital that are staked, the same for all comparisons. The mean of bets is a bet, too.
_STAKES = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class SequentialTest:
    """The result of a sequential test.

    `stopped_at`: number of states until the decision, or None without a decision. `sign`: the direction of
    the decision, 0 without a decision. `states`: number of states that were used. `capital`: the capital
    after these states. `p_value`: valid at any stopping time.
    """

    stopped_at: int | None
    sign: int
    states: int
    capital: float
    p_value: float


def capital(differences: np.ndarray, bound: float) -> np.ndarray:
    """Capital (states,) after each state of a gambler who starts with 1 and bets on `differences` (states,).

    Half of the capital bets on the first policy and half on the second, with stakes from 5 to 95 %. The
    capital is the mean over stakes of prod(1 + stake x difference / bound). If every difference has mean 0
    given the earlier ones, each product is a non-negative martingale, and so is the mean of the products.
    Differences must be in [-bound, bound].
    """
    return np.exp(_log_capitals(differences, bound)).reshape(-1, 2 * len(_STAKES)).mean(axis=1)


def _log_capitals(differences: np.ndarray, bound: float) -> np.ndarray:
    """Logarithm of the capital of each bet: (states, 2 directions, stakes)."""
    share = np.asarray(differences, dtype=np.float64) / bound
    if not (np.abs(share) <= 1 + 1e-12).all():
        raise ValueError(f"a difference is outside [-{bound}, {bound}]: pass a larger bound")
    bets = np.stack([_STAKES, -_STAKES])
    return np.log1p(share[:, None, None] * bets).cumsum(axis=0)


def sequential_test(differences: np.ndarray, bound: float = 1.0, level: float = 0.05) -> SequentialTest:
    """Test whether two policies differ. Stop at the first state at which the capital reaches 1 / level.

    `differences` (states,): outcome of the first policy minus outcome of the second policy, in the order of
    the evaluation. The order must not depend on outcomes. `bound`: the largest possible difference (1 for
    successes, 5 for the length of a chain). If there is no true difference, the probability that the capital
    ever reaches 1 / level is at most `level`, however often the capital is checked (Ville 1939; as a test of
    bounded means: Waudby-Smith and Ramdas 2024, JRSS B 86, "Estimating means of bounded random variables by
    betting"). A decision gives the direction only: after an early stop, the mean difference is too large on
    average.

    Raises ValueError for a difference outside the bound or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: pass a number between 0 and 1")
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size == 0:
        return SequentialTest(None, 0, 0, 1.0, 1.0)
    grown = capital(differences, bound)
    reached = np.flatnonzero(grown >= 1 / level)
    stop = int(reached[0]) if len(reached) else None
    last = differences.size - 1 if stop is None else stop
    sign = 0
    if stop is not None:
        sides = np.exp(_log_capitals(differences[: stop + 1], bound)[-1]).mean(axis=1)
        sign = 1 if sides[0] > sides[1] else -1
    return SequentialTest(
        stopped_at=None if stop is None else stop + 1,
        sign=sign,
        states=last + 1,
        capital=float(grown[last]),
        p_value=float(min(1.0, 1 / grown[: last + 1].max())),
    )
