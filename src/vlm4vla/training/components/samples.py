"""Which samples make up the batch of an update: a pure function of seed and step, so a run can resume."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class ShuffledIds:
    """Epochs over the ids 0..count-1, each in an order drawn from (seed, epoch)."""

    def __init__(self, count: int, batch: int, seed: int):
        self.count = count
        self.batch = batch
        self.seed = seed
        self._orders: dict[int, np.ndarray] = {}

    def at(self, step: int) -> np.ndarray:
        """Return the ids (batch,) of update `step` (0-based)."""
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs = positions // self.count
        needed = range(epochs[0], epochs[-1] + 1)
        self._orders = {n: self._orders[n] if n in self._orders else self._order(n) for n in needed}
        return np.concatenate([self._orders[n][positions[epochs == n] % self.count] for n in needed])

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)


class Samples(Protocol):
    """The source of batches. The training loop calls `ids`, then `batch`, at each update."""

    def ids(self, step: int) -> np.ndarray:
        """Return the ids (batch,) of the samples of update `step` (0-based): a pure function of step."""
        ...

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> Any:
        """Return the objective's argument for the samples `ids`; each call gets its own `random`."""
        ...
