"""Correction for multiple tests: Holm for the claims of a table, Benjamini-Hochberg for exploratory grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HOLM, FALSE_DISCOVERY = "Holm", "Benjamini-Hochberg"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values with Holm's method, in the given order.

    None, a test that could not be made, stays None and is not counted. Claims for adjusted p values under a
    level control the probability of any false claim at that level, for any dependence of the tests (Holm
    1979, "A simple sequentially rejective multiple test procedure"). Raises ValueError for a p value outside
    [0, 1].
    """
    return _adjusted(p_values, _step_down)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values with the method of Benjamini and Hochberg (1995), in the given order.

    None stays None and is not counted. Claims for adjusted p values under a level control the expected share
    of false claims at that level, for independent or positively dependent tests. Raises ValueError for a p
    value outside [0, 1].
    """
    return _adjusted(p_values, _step_up)


def _adjusted(p_values: Sequence[float | None], adjust) -> list[float | None]:
    tested = [index for index, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[index] for index in tested], dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p values must be between 0 and 1")
    order = np.argsort(p, kind="stable")
    result: list[float | None] = [None] * len(p_values)
    for index, value in zip(order, adjust(p[order]), strict=True):
        result[tested[index]] = float(min(1.0, value))
    return result


def _step_down(ascending: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(ascending * np.arange(len(ascending), 0, -1))


def _step_up(ascending: np.ndarray) -> np.ndarray:
    count = len(ascending)
    scaled = ascending * count / np.arange(1, count + 1)
    return np.minimum.accumulate(scaled[::-1])[::-1]
