"""How a training runs: the keys of every training in the configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vlm4vla.config.base import Fraction, Positive, Rate, Strict
from vlm4vla.config.execution import WHOLE_MATRICES, Execution, micro_batches


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
    """One run of the training loop. `execution`: on how many processes and how, for real backbones."""

    steps: Positive
    batch: Positive
    optimiser: Optimiser
    checkpoint_every: Positive = 500
    log_every: Positive = 50
    execution: Execution | None = None

    @model_validator(mode="after")
    def _can_run(self) -> Training:
        if self.execution is None:
            return self
        strategy = self.execution.strategy
        micro_batches(self.batch, self.execution.processes, self.execution.micro_batch)
        if self.optimiser.name == "muon" and strategy not in WHOLE_MATRICES:
            raise ValueError(
                f"optimiser muon needs whole matrices, and strategy {strategy} cuts them: write "
                "`name: adamw`, or `strategy: ddp`"
            )
        if self.optimiser.average and strategy == "zero2":
            raise ValueError(
                "strategy zero2 keeps the weights to itself, no average can be taken: write "
                "`average: 0`, or `strategy: fsdp2`"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A training without `execution` keeps the JSON it had: what was made with it is not made again.
        values = handler(self)
        if self.execution is None:
            values.pop("execution", None)
        return values
