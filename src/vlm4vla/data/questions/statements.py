"""A statement about a picture, and a picture with its statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Statement(NamedTuple):
    """One question about a picture and its answer; `set` is the question set's name."""

    set: str
    question: str
    answer: str


@dataclass
class Picture:
    """A picture (size, size, 3) uint8, where things are in it (column, row in 0..1), and what is true.

    `ground`: where they are on the table, (3,) m. `depth`, `classes`: see `Painter.draw`.
    """

    image: np.ndarray
    places: dict[str, tuple[float, float]]
    statements: list[Statement] = field(default_factory=list)
    ground: dict[str, np.ndarray] = field(default_factory=dict)
    depth: np.ndarray | None = None
    classes: np.ndarray | None = None
