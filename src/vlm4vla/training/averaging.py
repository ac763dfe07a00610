"""Exponential average of weights."""

from __future__ import annotations

import torch


class WeightAverage:
    """Keeps average <- d * average + (1 - d) * weights after each update; weights (N,).

    d = min(`decay`, (1 + n) / (10 + n)) after n updates, so that the first weights do not linger in short
    runs (the ramp of tf.train.ExponentialMovingAverage). `decay` 0 keeps no average.
    """

    def __init__(self, weights: torch.Tensor, decay: float):
        self.decay = decay
        self._weights = weights.detach()
        self.average = self._weights.clone() if decay else None

    def update(self, updates: int) -> None:
        """Take in the weights after update number `updates` (1-based)."""
        if self.average is not None:
            self.average.lerp_(self._weights, 1 - min(self.decay, (1 + updates) / (10 + updates)))

    def apply(self) -> None:
        """Write the average into the weights (which are lost)."""
        if self.average is not None:
            self._weights.copy_(self.average)
