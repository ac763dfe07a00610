"""Whether a correlation over few points is more than a difference between groups of points.

Two clusters of points give a large r and a small permutation p, and no single point carries it. But two
clusters are two points: whatever differs between them explains it as well. So a correlation is also tested
within groups: those that a gap in `x` or in `y` separates, and given ones, such as the families of models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlm4vla.analysis.correlation import EXACT_UP_TO, is_defined, pearson, permutation_p
from vlm4vla.analysis.intervals import SEED
from vlm4vla.analysis.kendall import MONTE_CARLO

LEVEL = 0.05
# The p value of r over the means of up to four groups cannot be below 5 %: the least is 2 / 4!.
MOST_GROUPS = 4
# A gap separates groups if it is wider than the widest group, times GAP (and one less than the number of
# groups, because many narrow groups also appear in evenly drawn points). From CLEAR_GAP on, it always does;
# below, only if the groups also leave less variance than a straight line does. speed/correlation_verdicts.py
# measures how often these values call a straight line a difference of groups, and how often groups escape.
GAP, CLEAR_GAP = 0.75, 1.5
_TIE = 1e-12


@dataclass(frozen=True)
class Grouping:
    """A correlation within groups of points.

    `by`: the reason of the groups. `member` (n,): the group of each point, in order of the mean of `x`.
    `within`: Pearson's r after the mean of its group is subtracted from each point; None if nothing varies
    within groups. `p_value`: one-sided, in the direction of r over all points, over the orders of `y` within
    groups. `carries`: the difference between the groups explains r, and the points do not show more.
    """

    by: str
    member: tuple[int, ...]
    sizes: tuple[int, ...]
    within: float | None
    p_value: float
    carries: bool

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.sizes)


def groupings(
    x: np.ndarray,
    y: np.ndarray,
    x_name: str = "question score",
    y_name: str = "policy score",
    given: Sequence[str] | None = None,
    given_name: str = "lineage",
) -> list[Grouping]:
    """The groups of the points `x` (n,) and `y` (n,) by gaps in `x` and in `y`, and by `given` (n,).

    Groups by a gap carry the correlation if r within them is not significant at 5 %. So do two given groups.
    Three or more given groups need not be apart: they carry it only if they also leave less variance of `y`
    than the line over `x` does, and if r over their means is not significant either. Empty if r is not
    defined.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not is_defined(x, y):
        return []
    found: dict[tuple[int, ...], Grouping] = {}
    for name, split, other in ((x_name, x, y), (y_name, y, x)):
        for member, clear in _gap_groups(split):
            apart = clear or _group_variance(other, member) < _line_variance(split, other)
            if apart:
                _add(found, name, x, y, member, True)
    if given is not None:
        member = np.unique(np.asarray(given), return_inverse=True)[1]
        count = member.max() + 1
        if 2 <= count < len(x):
            apart = count == 2 or _group_variance(y, member) < _line_variance(x, y)
            _add(found, given_name, x, y, member, apart and not _means_show(x, y, member))
    return list(found.values())


def _add(
    found: dict[tuple[int, ...], Grouping],
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    member: np.ndarray,
    apart: bool,
) -> None:
    """Add the grouping to `found`; groups that are there already get a second reason."""
    member = _in_order(x, member)
    key = tuple(member.tolist())
    r, p = within_groups(x, y, member)
    carries = apart and p >= LEVEL
    if key in found:
        name, carries = f"{found[key].by} and {name}", carries or found[key].carries
    found[key] = Grouping(name, key, tuple(np.bincount(member).tolist()), r, p, carries)


def carrying(found: Sequence[Grouping]) -> Grouping | None:
    """The groups that carry the correlation: the fewest, if there are several such groupings."""
    return min((each for each in found if each.carries), key=lambda each: each.groups, default=None)


def within_groups(x: np.ndarray, y: np.ndarray, member: np.ndarray) -> tuple[float | None, float]:
    """Pearson's r within groups and its permutation p value, one-sided in the direction of r over all points.

    `member` (n,): the group of each point, 0, 1, ... Up to 10 points, all orders of `y` within the groups are
    counted; above, 99,999 orders are sampled. (None, 1.0) if nothing varies within groups.
    """
    counts = np.bincount(member)
    a, b = (side - (np.bincount(member, side) / counts)[member] for side in (x, y))
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    if scale <= _TIE * math.sqrt(float(((x - x.mean()) ** 2).sum() * ((y - y.mean()) ** 2).sum())):
        return None, 1.0
    sign = 1.0 if pearson(x, y) >= 0 else -1.0
    observed = sign * float(a @ b) - _TIE * scale
    parts = [np.flatnonzero(member == group) for group in range(len(counts))]
    if len(x) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for rows in parts:
            orders = np.array(list(itertools.permutations(b[rows])))
            sums = (sums[:, None] + (orders @ a[rows])[None, :]).ravel()
        p = float((sign * sums >= observed).mean())
    else:
        random, sums = np.random.default_rng(SEED), np.zeros(MONTE_CARLO)
        for rows in parts:
            sums += random.permuted(np.tile(b[rows], (MONTE_CARLO, 1)), axis=1) @ a[rows]
        p = (1 + int((sign * sums >= observed).sum())) / (1 + MONTE_CARLO)
    return float(np.clip(a @ b / scale, -1.0, 1.0)), p


def _gap_groups(values: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """The groups (n,) that gaps in `values` (n,) separate, for 2 to 4 groups, and whether the gaps are clear.

    k groups come from the k - 1 widest gaps, if these are wider than each group, as `GAP` says. Single points
    are no evidence of groups, so there are at most half as many groups as points.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    gaps = np.diff(ordered)
    widest = np.argsort(-gaps, kind="stable")
    found = []
    for count in range(2, min(MOST_GROUPS, len(values) // 2) + 1):
        rest = gaps[widest[count - 1 :]].max(initial=0.0)
        gap = gaps[widest[count - 2]]
        parts = np.split(np.arange(len(values)), np.sort(widest[: count - 1]) + 1)
        span = max(ordered[part[-1]] - ordered[part[0]] for part in parts)
        if gap > rest and gap > GAP * (count - 1) * span:
            member = np.empty(len(values), dtype=np.int64)
            for group, part in enumerate(parts):
                member[order[part]] = group
            found.append((member, bool(gap > CLEAR_GAP * (count - 1) * span)))
    return found


def _group_variance(values: np.ndarray, member: np.ndarray) -> float:
    """The mean square of `values` (n,) around the means of their groups."""
    counts = np.bincount(member)
    rest = values - (np.bincount(member, values) / counts)[member]
    return float((rest**2).sum()) / (len(values) - len(counts))


def _line_variance(x: np.ndarray, y: np.ndarray) -> float:
    """The mean square of `y` (n,) around the least-squares line over `x` (n,)."""
    slope = float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) ** 2).sum())
    rest = y - y.mean() - slope * (x - x.mean())
    return float((rest**2).sum()) / (len(x) - 2)


def _in_order(x: np.ndarray, member: np.ndarray) -> np.ndarray:
    """`member` with the groups numbered in order of their mean of `x`."""
    means = np.bincount(member, x) / np.bincount(member)
    return np.argsort(np.argsort(means, kind="stable"), kind="stable")[member]


def _means_show(x: np.ndarray, y: np.ndarray, member: np.ndarray) -> bool:
    """Whether r over the means of the groups is significant: five groups or more can carry a correlation."""
    counts = np.bincount(member)
    means = np.bincount(member, x) / counts, np.bincount(member, y) / counts
    return len(counts) > MOST_GROUPS and is_defined(*means) and permutation_p(*means) < LEVEL
