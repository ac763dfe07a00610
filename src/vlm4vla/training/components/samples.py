"""Which samples make up the batch of a step: a pure function of seed and step, so resuming is trivial."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class ShuffledIds:
    """Passes over 0..count-1, each in a fresh order drawn from (seed, pass)."""

    def __init__(self, count: int, batch: int, seed: int):
        self.count = count
        self.batch = batch
        self.seed = seed
        self._orders: dict[int, np.ndarray] = {}

    def at(self, step: int) -> np.ndarray:
        """Ids (batch,) of update `step` (0-based)."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        passes = places // self.count
        wanted = range(passes[0], passes[-1] + 1)
        self._orders = {n: self._orders[n] if n in self._orders else self._order(n) for n in wanted}
        return np.concatenate([self._orders[n][places[passes == n] % self.count] for n in wanted])

    def _order(self, number: int) -> np.ndarray:
        return np.random.default_rng([self.seed, number]).permutation(self.count)


class Samples(Protocol):
    """Where batches come from; asked once an update."""

    def ids(self, step: int) -> np.ndarray:
        """Ids (batch,) of the samples of update `step` (0-based): a pure function of step."""
        ...

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> Any:
        """The argument of the objective for these samples; `random` is fresh at each update."""
        ...
