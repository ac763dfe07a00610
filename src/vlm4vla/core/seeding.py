"""Random generators that depend on what they are for, and on nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np


def rng_for(*parts: Any) -> np.random.Generator:
    """A generator that depends on `parts` (strings and non-negative integers) only."""
    words = [p if isinstance(p, int) else int.from_bytes(str(p).encode(), "big") for p in parts]
    return np.random.default_rng(words)
