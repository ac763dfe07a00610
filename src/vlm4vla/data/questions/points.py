"""A place in a picture as words: `<x03> <y12>`, sixteenths of its width and height."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 16


def point(place: Sequence[float]) -> str:
    """Words of a place (column, row) in 0..1."""
    column, row = bins(np.asarray(place, dtype=float)[:2])
    return f"<x{column:02d}> <y{row:02d}>"


def bins(places: np.ndarray) -> np.ndarray:
    """Numbers of the sixteenths (int64) that shares of width or height lie in; outside counts as the edge."""
    return np.clip(np.floor(np.asarray(places) * BINS), 0, BINS - 1).astype(np.int64)
