"""The learning rate over a run, as a factor of the configured rate."""

from __future__ import annotations

import math

from vlm4vla.training_settings import Optimiser


def rate_factor(step: int, steps: int, optimiser: Optimiser) -> float:
    """Factor of the rate at update `step` (0-based) of `steps`.

    Linear warm-up over the first `warmup` share of updates, then constant, or a half cosine that reaches
    `final` at the last update.
    """
    warm = round(optimiser.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if optimiser.schedule == "constant":
        return 1.0
    progress = (step - warm) / max(1, steps - 1 - warm)
    return optimiser.final + (1 - optimiser.final) * 0.5 * (1 + math.cos(math.pi * progress))
