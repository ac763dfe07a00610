"""Compare two policies state by state, and stop as soon as the comparison is decided.

    found = compare_in_order(own, other, n_max=100)     # outcomes so far, in the fixed order of the states
    found.stop                                          # True: no further rollout is needed
    found.outcome, found.p_value, found.states          # "higher", "lower" or "undecided"

`SequentialTest` does the same one state at a time. Both read nothing but the outcomes, so a run that was
interrupted comes to the same decision from its records.

The test is the sign-flip test of `paired.sign_flip`, made sequential. If two policies are equal, each
difference has either sign with probability 1/2, given its size and everything before it. So the chance that
the running sum crosses a boundary is computed exactly, one state at a time, for any sizes: successes of 0 or
1 and chains of instructions alike. Each state may use up a stated share of alpha (an error-spending function;
Lan and DeMets 1983, Biometrika 70, "Discrete sequential boundaries for clinical trials"), and what a state
cannot use is kept for the next ones. The total error is at most alpha, whenever and however often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

HIGHER, LOWER, UNDECIDED = "higher", "lower", "undecided"
# The shape of the spending function (Hwang, Shih and DeCani 1990, Statistics in Medicine 9): 0 spends alpha
# evenly over the states, larger values spend it earlier. speed/early_stopping.py measures what it costs.
_EARLY = 2.0
_LEVELS = 19  # p values above alpha are rounded up to one of these levels


@dataclass(frozen=True)
class SequentialComparison:
    """What is known after some states.

    `outcome`: of the first policy against the other: "higher", "lower" or "undecided". `p_value`: two-sided,
    valid at any stopping time, at most alpha if decided. While undecided, it is above alpha and rounded up to
    one of 19 levels (in steps of 0.05 for alpha = 0.05). `states`: the number of states that were used, up
    to the decision. `stop`: no further state is needed. `reason`: why it stops: "decided", "no decision in
    reach" or "all states"; "" to continue.
    """

    outcome: str
    p_value: float
    states: int
    stop: bool
    reason: str


class SequentialTest:
    """A two-sided sequential sign-flip test that is fed one initial state at a time, in a fixed order.

    `n_max`: the number of states at which the evaluation ends at the latest. `alpha`: the probability that
    two equal policies are ever declared different. `most`: the largest outcome (1 for success, 5 for a chain
    of five instructions). `hopeless`: stop as undecided if the chance of a decision by `n_max`, predicted
    from the states so far, falls below this share; 0 to continue to `n_max`. This rule can only make
    decisions rarer, so it does not add to the error.

    The order of states, `n_max` and `alpha` must be chosen before the first outcome is seen. The decision
    says which policy is better. It does not say by how much: differences at an early stop are too large on
    average.

    Raises ValueError for a value that is out of its range.
    """

    def __init__(self, n_max: int, alpha: float = 0.05, most: int = 1, hopeless: float = 0.05) -> None:
        if n_max < 1 or most < 1:
            raise ValueError(f"n_max is {n_max} and most is {most}: pass whole numbers from 1")
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha}: pass a number between 0 and 1")
        if not 0 <= hopeless < 1:
            raise ValueError(f"hopeless is {hopeless}: pass a number from 0 to below 1")
        self.n_max, self.alpha, self.most, self.hopeless = n_max, alpha, most, hopeless
        self.outcome, self.reason, self.states = UNDECIDED, "", 0
        self._boundary = _Boundary(n_max, most, [alpha])
        self._p_value = 1.0
        self._differences: list[int] = []

    @property
    def stop(self) -> bool:
        """True if no further state is needed."""
        return bool(self.reason)

    def add(self, own: int, other: int) -> None:
        """Add the outcomes of both policies on the next state. After a stop, nothing changes.

        Raises ValueError if an outcome is not a whole number from 0 to `most`.
        """
        for outcome in (own, other):
            if outcome != int(outcome) or not 0 <= outcome <= self.most:
                raise ValueError(f"an outcome is {outcome}: pass whole numbers from 0 to {self.most}")
        if self.stop:
            return
        self._differences.append(int(own) - int(other))
        self.states += 1
        total = sum(self._differences)
        spent = self._boundary.spent
        self._boundary.add(abs(self._differences[-1]))
        if self._boundary.crossed(total):
            # Earlier decisions count as more extreme, then larger sums (the stage-wise ordering).
            self._p_value = spent + self._boundary.tail(total)
            self.outcome, self.reason = HIGHER if total > 0 else LOWER, "decided"
        elif self.states == self.n_max:
            self.reason = "all states"
        elif self.hopeless and self._chance(total) < self.hopeless:
            self.reason = "no decision in reach"

    def result(self) -> SequentialComparison:
        """What is known after the states so far."""
        p_value = self._p_value if self.outcome != UNDECIDED else self._undecided_p_value()
        return SequentialComparison(self.outcome, p_value, self.states, self.stop, self.reason)

    def _chance(self, total: int) -> float:
        """The predicted chance of a decision by `n_max`, if the states to come are like those so far.

        The sum at `n_max` is normal around the extrapolated sum, and it is as uncertain as the mean so far
        makes it. A decision needs a sum about as far out as the boundary at the end. One imagined state with
        the largest difference keeps the variance above 0.
        """
        seen, left = self.states, self.n_max - self.states
        squares = sum(difference**2 for difference in self._differences) + self.most**2
        variance = squares / (seen + 1)
        expected = abs(total) * self.n_max / seen
        needed = NormalDist().inv_cdf(1 - self.alpha / 4) * math.sqrt(variance * self.n_max)
        spread = math.sqrt(variance * left * self.n_max / seen)
        normal = NormalDist(expected, spread)
        return 1 - normal.cdf(needed) + normal.cdf(-needed)

    def _undecided_p_value(self) -> float:
        """The smallest of some levels above alpha at which a test would have decided by now, or 1."""
        levels = [self.alpha + (1 - self.alpha) * step / _LEVELS for step in range(_LEVELS)]
        boundary, total, smallest = _Boundary(self.n_max, self.most, levels), 0, _LEVELS
        for difference in self._differences:
            total += difference
            boundary.add(abs(difference))
            smallest = min(smallest, int((abs(total) < boundary.lines).sum()))
        return levels[smallest] if smallest < _LEVELS else 1.0


def compare_in_order(
    own: Sequence[int],
    other: Sequence[int],
    n_max: int,
    alpha: float = 0.05,
    most: int = 1,
    hopeless: float = 0.05,
) -> SequentialComparison:
    """Compare the outcomes `own` and `other` of two policies on the same states, in the order of the states.

    Outcomes after the stop have no effect. For the other parameters and the errors, see `SequentialTest`.
    Raises ValueError, too, if the policies have different numbers of outcomes, or more than `n_max`.
    """
    if len(own) != len(other) or len(own) > n_max:
        raise ValueError(f"{len(own)} and {len(other)} outcomes: pass pairs of outcomes, {n_max} at most")
    test = SequentialTest(n_max, alpha, most, hopeless)
    for pair in zip(own, other, strict=True):
        test.add(*pair)
    return test.result()


def share_spent(part: np.ndarray | float) -> np.ndarray | float:
    """The share of alpha that may be used up after a `part` (0 to 1) of all states."""
    return np.expm1(-_EARLY * part) / math.expm1(-_EARLY)


class _Boundary:
    """How far from 0 the sum of the differences must be for a decision, at each of some levels.

    `lines` (levels,): at the present state, the smallest size of the sum that decides. `spent`: under equal
    policies, the exact probability of a decision at the lowest level so far.

    The lowest level is the test itself. The test at each next level decides whenever the level before it
    does, and may add decisions worth the difference between both levels. So each test keeps its level, and
    the levels at which a decision was reached have no gaps.
    """

    def __init__(self, n_max: int, most: int, levels: list[float]) -> None:
        self.n_max, self.states, self.spent = n_max, 0, 0.0
        self._budgets = np.diff(levels, prepend=0.0)
        self._used = np.zeros(len(levels))
        # alive[level, s] = P(no decision at the level before this state, and the sum is s). By symmetry, the
        # probability of -s is the same, so s goes from 0 upwards only.
        self._alive = np.zeros((len(levels), n_max * most + 1))
        self._alive[:, 0] = 1.0
        self._tails = np.empty(0)
        self.lines = np.full(len(levels), n_max * most + 1)

    def add(self, size: int) -> None:
        """Go to the next state, where the difference has the size `size`."""
        alive = self._alive
        alive[np.arange(alive.shape[1]) >= self.lines[:, None]] = 0.0  # decided at the state before
        if size:
            mirrored = np.concatenate([alive[:, size:0:-1], alive[:, :-size]], axis=1)
            lower = np.concatenate([alive[:, size:], np.zeros((len(alive), size))], axis=1)
            self._alive = alive = 0.5 * (mirrored + lower)
        self.states += 1
        allowed = self._budgets * share_spent(self.states / self.n_max) - self._used
        line = alive.shape[1]
        for level in range(len(alive)):
            # tails[s] = P(the size of the sum is s or more), without what the level before decides
            tails = 2 * np.cumsum(alive[level, :line][::-1])[::-1]
            affordable = np.flatnonzero(tails[1:] <= allowed[level])
            if len(affordable):
                self._used[level] += tails[1 + affordable[0]]
                line = 1 + int(affordable[0])
            self.lines[level] = line
            if level == 0:
                self._tails = tails
        self.spent = float(self._used[0])

    def crossed(self, total: int) -> bool:
        """True if the sum `total` decides at the lowest level."""
        return abs(total) >= self.lines[0]

    def tail(self, total: int) -> float:
        """P(no decision at the lowest level before this state, and a sum at least as far from 0)."""
        return float(self._tails[abs(total)])
