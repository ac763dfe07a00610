"""How a correlation over few backbones depends on single backbones and families, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlm4vla.analysis.correlation import Interval, is_defined, pearson, permutation_p
from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED, percentiles

SIGNIFICANT = 0.05
_NAMED = 3  # a verdict that hinges on more names gives their number instead


@dataclass(frozen=True)
class LeaveOneOut:
    """Pearson's r with each point, or each family, left out.

    `low` and `high` are the range of r; `low_without` and `high_without` name what is left out there.
    `flips`: the names without which r has the other sign. `loses`: the names without which p is 5 % or more.
    """

    low: float
    high: float
    low_without: str
    high_without: str
    flips: tuple[str, ...]
    loses: tuple[str, ...]


def leave_one_out(x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> LeaveOneOut | None:
    """Leave out each name of `names` (n,) in turn, with all points of that name, such as a family.

    None if r is not defined, or is not defined without any of the names.
    """
    x, y, names = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(names)
    if not is_defined(x, y):
        return None
    whole, found = pearson(x, y), {}
    for name in dict.fromkeys(names.tolist()):
        kept = names != name
        if is_defined(x[kept], y[kept]):
            found[name] = (pearson(x[kept], y[kept]), permutation_p(x[kept], y[kept]))
    if not found:
        return None
    lowest, highest = (choose(found, key=lambda name: found[name][0]) for choose in (min, max))
    return LeaveOneOut(
        low=found[lowest][0],
        high=found[highest][0],
        low_without=lowest,
        high_without=highest,
        flips=tuple(name for name, (r, _) in found.items() if r * whole < 0),
        loses=tuple(name for name, (_, p) in found.items() if p >= SIGNIFICANT),
    )


@dataclass(frozen=True)
class Clustered:
    """A correlation with families, not backbones, as independent units: backbones of a family are related.

    `pearson` is r over the mean scores of the families, and `p_value` its permutation p value (None below
    three families). `ci` is the interval of r over backbones when whole families are resampled. `without`: r
    with each family left out.
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
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Clustered:
    """Pearson's r with backbones clustered by family. `families` (n,): the family of each point.

    The interval is a cluster bootstrap (Field and Welsh 2007). It is (None, None) below four families.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    names, member = np.unique(np.asarray(families), return_inverse=True)
    counts = np.bincount(member)
    means = np.bincount(member, x) / counts, np.bincount(member, y) / counts
    known = is_defined(*means)
    interval: Interval = (None, None)
    if len(names) >= 4:
        drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
        times = np.stack([(drawn == family).sum(axis=1) for family in range(len(names))], axis=1)
        r = _weighted_rows(x, y, times[:, member])
        r = r[np.isfinite(r)]
        interval = percentiles(r, level) if len(r) else (None, None)
    return Clustered(
        families=len(names),
        pearson=pearson(*means) if known else None,
        p_value=permutation_p(*means) if known else None,
        ci=interval,
        without=leave_one_out(x, y, families),
    )


def _weighted_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """r of the points with `weights` (b, n): (b,). NaN if `x` or `y` is constant over the weighted points."""
    total = weights.sum(axis=1, keepdims=True)
    a, b = (side - (weights @ side)[:, None] / total for side in (x, y))
    square = (weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1)
    changes = square > 1e-24 * (x.var() * y.var())
    r = (weights * a * b).sum(axis=1) / np.sqrt(np.where(changes, square, 1.0))
    return np.where(changes, r, np.nan)


def verdict(
    r: float | None,
    p_value: float | None,
    points: LeaveOneOut | None = None,
    families: Clustered | None = None,
) -> str:
    """A correlation in words. `p_value` is the adjusted p value.

    "not defined"; "no evidence", with the names on which the sign depends; "positive" or "negative";
    "..., fragile: hinges on NAME" if r is not significant without one backbone or without one family.
    """
    if r is None or p_value is None:
        return "not defined"
    if p_value >= SIGNIFICANT:
        flips = points.flips if points else ()
        return "no evidence" + (f" (sign hinges on {_listed(flips)})" if flips else "")
    sign = "positive" if r > 0 else "negative"
    hinges = points.loses if points else ()
    if hinges:
        return f"{sign}, fragile: hinges on {_listed(hinges)}"
    hinges = families.without.loses if families and families.without else ()
    if hinges:
        return f"{sign}, fragile: hinges on the family {_listed(hinges)}"
    return sign


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"any of {len(names)}"
    return " or ".join(names)
