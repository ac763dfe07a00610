"""Random generators that depend on their purpose and on nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np


def rng_for(*parts: Any) -> np.random.Generator:
    """A generator whose stream depends only on `parts` (strings and non-negative integers)."""
    words = [p if isinstance(p, int) else int.from_bytes(str(p).encode(), "big") for p in parts]
    return np.random.default_rng(words)
