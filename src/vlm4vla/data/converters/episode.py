"""One episode of a raw data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Episode:
    """images (T, H, W, 3) uint8, states (T, S), actions (T, 7); `where`: it was read, for a line about it."""

    images: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    instruction: str
    where: str
