"""How a correlation over few backbones depends on single backbones and families, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from vlm4vla.analysis.correlation import is_defined, pearson, permutation_p
from vlm4vla.analysis.correlation_intervals import Interval, pearson_interval, spearman_interval
from vlm4vla.analysis.groups import Grouping, carrying
from vlm4vla.analysis.intervals import LEVEL

SIGNIFICANT = 0.05
POSITIVE, NEGATIVE, FRAGILE, GROUPS = "positive", "negative", "fragile", "a difference of groups"
WEAK, UNDECIDED, NOT_DEFINED = "weak", "cannot be told", "not defined"
_NAMED = 3  # a verdict that hinges on more names gives their number instead


@dataclass(frozen=True)
class LeaveOneOut:
    """Pearson's r with each point, or each family, left out.

    `low` and `high` are the range of r; `low_without` and `high_without` name what is left out there.
    `flips`: the names without which r has the other sign. `loses`: the names without which p is 5 % or more
    or r is not defined. `undefined`: the names without which r is not defined.
    """

    low: float
    high: float
    low_without: str
    high_without: str
    flips: tuple[str, ...]
    loses: tuple[str, ...]
    undefined: tuple[str, ...] = ()


def leave_one_out(
    x: np.ndarray, y: np.ndarray, names: Sequence[str], *, ranks: bool = False
) -> LeaveOneOut | None:
    """Leave out each name of `names` (n,) in turn, with all points of that name, such as a family.

    `ranks`: of the ranks of the points that are left, which is Spearman's rho. None if r is not defined, or
    is not defined without any of the names.
    """
    x, y, names = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(names)
    if not is_defined(x, y):
        return None
    whole, found = pearson(*_values(x, y, ranks)), {}
    every = list(dict.fromkeys(names.tolist()))
    for name in every:
        kept = names != name
        if is_defined(x[kept], y[kept]):
            left = _values(x[kept], y[kept], ranks)
            found[name] = (pearson(*left), permutation_p(*left))
    if not found:
        return None
    lowest, highest = (choose(found, key=lambda name: found[name][0]) for choose in (min, max))
    return LeaveOneOut(
        low=found[lowest][0],
        high=found[highest][0],
        low_without=lowest,
        high_without=highest,
        flips=tuple(name for name, (r, _) in found.items() if r * whole < 0),
        loses=tuple(name for name in every if name not in found or found[name][1] >= SIGNIFICANT),
        undefined=tuple(name for name in every if name not in found),
    )


def _values(x: np.ndarray, y: np.ndarray, ranks: bool) -> tuple[np.ndarray, np.ndarray]:
    return (stats.rankdata(x), stats.rankdata(y)) if ranks else (x, y)


@dataclass(frozen=True)
class Clustered:
    """A correlation with families, not backbones, as independent units: backbones of a family are related.

    `pearson` is r over the mean scores of the families, `p_value` its permutation p value (None below three
    families), and `ci` its interval (None below four). `without`: r with each family left out.
    """

    families: int
    pearson: float | None
    p_value: float | None
    ci: Interval
    without: LeaveOneOut | None


def by_family(
    x: np.ndarray,
    y: np.ndarray,
    families: Sequence[str],
    level: float = LEVEL,
    *,
    ranks: bool = False,
) -> Clustered:
    """Pearson's r with backbones clustered by family. `families` (n,): the family of each point.

    `ranks`: of the ranks of the families' means.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    names, member = np.unique(np.asarray(families), return_inverse=True)
    counts = np.bincount(member)
    means = _values(np.bincount(member, x) / counts, np.bincount(member, y) / counts, ranks)
    r = pearson(*means) if is_defined(*means) else None
    interval = spearman_interval if ranks else pearson_interval
    return Clustered(
        families=len(names),
        pearson=r,
        p_value=None if r is None else permutation_p(*means),
        ci=(None, None) if r is None else interval(r, len(names), level),
        without=leave_one_out(x, y, families, ranks=ranks),
    )


@dataclass(frozen=True)
class CorrelationReading:
    """What a correlation says: one of the outcomes above, and a verdict in `words`."""

    outcome: str
    words: str


def read(
    r: float | None,
    p_value: float | None,
    points: LeaveOneOut | None = None,
    families: Clustered | None = None,
    *,
    groups: Sequence[Grouping] = (),
    interval: Sequence[float | None] = (None, None),
    count: int | None = None,
    margin: float = 0.5,
) -> CorrelationReading:
    """The weakest statement that the numbers force. `p_value` is the adjusted p value.

    - NOT_DEFINED: there is no r, or no p value.
    - WEAK: the whole `interval` of r lies between -`margin` and `margin`, whatever p is.
    - UNDECIDED ("cannot be told with `count` backbones"): otherwise, if p is 5 % or more. The words name the
      backbones on which the sign depends.
    - GROUPS: r is significant, but it is a difference between `groups` and is not seen within them.
    - FRAGILE: r is significant, but not without one backbone or one family, which the words name.
    - POSITIVE or NEGATIVE: otherwise.
    """
    if r is None or p_value is None:
        return CorrelationReading(NOT_DEFINED, "not defined")
    low, high = interval
    significant, sign = p_value < SIGNIFICANT, POSITIVE if r > 0 else NEGATIVE
    if low is not None and high is not None and -margin < low and high < margin:
        return CorrelationReading(WEAK, f"{sign}, but weak" if significant else "weak")
    if not significant:
        words = f"cannot be told with {count} backbones" if count else "cannot be told"
        flips = points.flips if points else ()
        return CorrelationReading(UNDECIDED, words + (f" (sign hinges on {_listed(flips)})" if flips else ""))
    group = carrying(groups)
    if group is not None:
        return CorrelationReading(GROUPS, f"a difference of groups ({group.groups} by {group.by})")
    hinges = points.loses if points else ()
    if hinges:
        return CorrelationReading(FRAGILE, f"{sign}, fragile: hinges on {_listed(hinges)}")
    hinges = families.without.loses if families and families.without else ()
    if hinges:
        return CorrelationReading(FRAGILE, f"{sign}, fragile: hinges on the family {_listed(hinges)}")
    return CorrelationReading(sign, sign)


def verdict(
    r: float | None,
    p_value: float | None,
    points: LeaveOneOut | None = None,
    families: Clustered | None = None,
    **more: Any,
) -> str:
    """The words of `read` for the same arguments."""
    return read(r, p_value, points, families, **more).words


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"any of {len(names)}"
    return " or ".join(names)
