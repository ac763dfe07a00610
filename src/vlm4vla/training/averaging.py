"""Exponential average of weights."""

from __future__ import annotations

import torch


class WeightAverage:
    """Keeps average <- d * average + (1 - d) * weights after each update.

    d = min(`decay`, (1 + n) / (10 + n)) after n updates, so that the first weights do not linger in short
    runs (the ramp of tf.train.ExponentialMovingAverage). `decay` 0 keeps no average.
    """

    def __init__(self, parameters: list[torch.Tensor], decay: float):
        self.decay = decay
        self._weights = [parameter.detach() for parameter in parameters]
        self.average = [weight.clone() for weight in self._weights] if decay else []

    def update(self, updates: int) -> None:
        """Take in the weights after update number `updates` (1-based)."""
        if self.decay:
            share = 1 - min(self.decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_(self.average, self._weights, share)

    def apply(self) -> None:
        """Write the average into the weights (which are lost)."""
        if self.decay:
            torch._foreach_copy_(self._weights, self.average)
