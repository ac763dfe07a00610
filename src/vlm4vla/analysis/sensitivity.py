"""What a correlation over few backbones hangs on: each point, each family, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlm4vla.analysis.correlation import Interval, defined, pearson, permutation_p
from vlm4vla.analysis.intervals import LEVEL, RESAMPLES, SEED, percentiles

SIGNIFICANT = 0.05
_NAMED = 3  # a verdict that hinges on more than three names is told as a number


@dataclass(frozen=True)
class LeaveOneOut:
    """Pearson's r with each point (or family) left out: the range, and which ones the sign or p hinge on.

    `flips`: without it r has the other sign; `loses`: without it p is no longer below 5 %. Names in order.
    """

    low: float
    high: float
    low_without: str
    high_without: str
    flips: tuple[str, ...]
    loses: tuple[str, ...]


def leave_one_out(x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> LeaveOneOut | None:
    """`names` (n,) are the points'; points of one name (a family) are left out together.

    None where r does not exist, or no longer exists whichever name is left out.
    """
    x, y, names = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(names)
    if not defined(x, y):
        return None
    whole, found = pearson(x, y), {}
    for name in dict.fromkeys(names.tolist()):
        kept = names != name
        if defined(x[kept], y[kept]):
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
    """Backbones of one family are relatives: what is left when families count and not backbones.

    `pearson` is over the families' mean scores, with its permutation p (None below three families). The
    interval resamples families, whole, and takes r over their backbones; `without`: r with each family left
    out.
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
    """Family-clustered sensitivity of Pearson's r; `families` (n,) names each point's.

    The interval is a cluster bootstrap (Field and Welsh 2007); (None, None) below four families.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    names, member = np.unique(np.asarray(families), return_inverse=True)
    counts = np.bincount(member)
    means = np.bincount(member, x) / counts, np.bincount(member, y) / counts
    known = defined(*means)
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
    """r of the points with `weights` (b, n); nan where a side of the points that count never changes."""
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
    """A correlation in words; `p_value` is the adjusted one.

    "not defined"; "no evidence", with what its sign hinges on; "positive" or "negative"; and "..., fragile:
    hinges on NAME" where r is not significant without one backbone, or without one family.
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
