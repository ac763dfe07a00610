"""Many tests in one table: Holm for what it claims, Benjamini-Hochberg for exploratory grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HOLM, FALSE_DISCOVERY = "Holm", "Benjamini-Hochberg"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values, in the given order; None (a test that could not be made) stays None and counts not.

    Below a level they control the chance of any false claim, whatever the tests' dependence (Holm 1979, "A
    simple sequentially rejective multiple test procedure"). Raises ValueError for a p outside [0, 1].
    """
    return _adjusted(p_values, _step_down)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values, in the given order; None stays None and counts not.

    Below a level they control the expected share of false ones among the claims, for independent or
    positively dependent tests (Benjamini and Hochberg 1995). Raises ValueError for a p outside [0, 1].
    """
    return _adjusted(p_values, _step_up)


def _adjusted(p_values: Sequence[float | None], adjust) -> list[float | None]:
    made = [index for index, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[index] for index in made], dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    result: list[float | None] = [None] * len(p_values)
    for place, value in zip(order, adjust(p[order]), strict=True):
        result[made[place]] = float(min(1.0, value))
    return result


def _step_down(ascending: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(ascending * np.arange(len(ascending), 0, -1))


def _step_up(ascending: np.ndarray) -> np.ndarray:
    count = len(ascending)
    scaled = ascending * count / np.arange(1, count + 1)
    return np.minimum.accumulate(scaled[::-1])[::-1]
