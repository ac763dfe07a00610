"""The samples of a question set: images with questions and answers, and image positions written as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

POINT_BINS = 16  # intervals of an image's width and of its height, each with a word


class Statement(NamedTuple):
    """A question about an image and its answer; `set` is the name of the question set."""

    set: str
    question: str
    answer: str


@dataclass
class Picture:
    """An image (size, size, 3) uint8 with its statements and the positions of the objects in it.

    `places`: the image position (column, row) of each object, as fractions of width and height. `ground`: the
    position of each object on the table, (3,) in metres. `depth` and `classes`: see `Painter.draw`.
    """

    image: np.ndarray
    places: dict[str, tuple[float, float]]
    statements: list[Statement] = field(default_factory=list)
    ground: dict[str, np.ndarray] = field(default_factory=dict)
    depth: np.ndarray | None = None
    classes: np.ndarray | None = None


def point_words(place: Sequence[float]) -> str:
    """Write an image position (column, row), as fractions of width and height, as words: `<x03> <y12>`."""
    column, row = point_bins(np.asarray(place, dtype=float)[:2])
    return f"<x{column:02d}> <y{row:02d}>"


def point_bins(places: np.ndarray) -> np.ndarray:
    """Return the bins (int64, 0 to 15) of fractions of width or height; outside values get the edge's bin."""
    return np.clip(np.floor(np.asarray(places) * POINT_BINS), 0, POINT_BINS - 1).astype(np.int64)
