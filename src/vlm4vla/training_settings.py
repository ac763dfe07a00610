"""How a training runs: the keys of every training in the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vlm4vla.fields import Fraction, Positive, Rate, Strict


class Optimiser(Strict):
    """How weights move. Steps count updates; `warmup` and `final` are fractions (of steps, of the rate)."""

    name: Literal["adamw", "muon"] = "adamw"  # muon: 2-D hidden weights; the rest stays with AdamW
    learning_rate: Rate
    muon_learning_rate: Rate = 4e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Fraction = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    final: Fraction = 0.02
    clip: Rate = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0  # exponential average of weights, saved; 0 = off


class Training(Strict):
    """One run of the training loop."""

    steps: Positive
    batch: Positive
    optimiser: Optimiser
    checkpoint_every: Positive = 500
    log_every: Positive = 50
