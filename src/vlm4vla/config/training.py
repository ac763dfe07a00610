"""The keys of every training in the configuration."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vlm4vla.config.base import MOST, Fraction, OmitsDefaults, Positive, Rate, Strict
from vlm4vla.config.execution import WHOLE_MATRICES, Execution, micro_batches


def _fraction_or_updates(value: float) -> float:
    if value > 1 and not value.is_integer():
        raise ValueError(
            f"{value:g} is neither a fraction nor a number of updates: write a number from 0 to 1, or a "
            "whole number"
        )
    return value


Decay = Annotated[float, Field(ge=0, lt=1)]  # as torch's AdamW takes it
WarmUp = Annotated[float, Field(ge=0, le=MOST), AfterValidator(_fraction_or_updates)]


class Optimiser(OmitsDefaults):
    """The optimiser and its learning-rate schedule. An update is one step of the optimiser."""

    OMITTED_AT_DEFAULT: ClassVar = frozenset({"muon_polynomials"})

    name: Literal["adamw", "muon"] = Field(
        "adamw",
        description="`muon` uses Muon for the backbone's hidden matrices and AdamW for all other weights.",
    )
    learning_rate: Rate = Field(description="Largest learning rate of AdamW.")
    muon_learning_rate: Rate = Field(4e-3, description="Largest learning rate of Muon.")
    muon_polynomials: Literal[3, 5] = Field(
        5,
        description="How many polynomials approximate the orthogonal matrix of Muon's update: the usual 5, "
        "or 3 others that take three fifths of the time.",
    )
    betas: tuple[Decay, Decay] = Field(
        (0.9, 0.95), description="Decay rates of AdamW's two moment estimates."
    )
    weight_decay: Annotated[float, Field(ge=0, le=1e9)] = Field(
        0.0, description="Decoupled weight decay of matrices. Biases and norms are not decayed."
    )
    warmup: WarmUp = Field(
        0.05,
        description="Warm-up: the updates over which the learning rate rises linearly from 0. A number from "
        "0 to 1 is a fraction of all updates. A whole number above 1 is a number of updates; if it is above "
        "`steps`, the warm-up lasts for the whole training.",
    )
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="How the learning rate changes after the warm-up."
    )
    final: Fraction = Field(
        0.02,
        description="Learning rate of the last update of a cosine schedule, as a fraction of the largest "
        "rate.",
    )
    clip: Rate | None = Field(
        1.0,
        description="Gradient clipping: gradients with a larger norm are scaled down to this norm. With "
        "`null`, they are not clipped.",
    )
    average: Decay = Field(
        0.0,
        description="Decay per update of the exponential moving average of the weights. The training saves "
        "this average as its result. With 0, there is no average.",
    )


class Training(Strict):
    """One training: its length, its batch, its optimiser and how it is executed."""

    steps: Positive = Field(description="Number of updates.")
    batch: Annotated[int, Field(gt=0, le=10**6)] = Field(
        description="Samples per update, over all processes."
    )
    optimiser: Optimiser = Field(description="The optimiser and its learning-rate schedule.")
    checkpoint_every: Positive = Field(
        500,
        description="Number of updates between checkpoints. An interrupted training resumes from the last "
        "checkpoint.",
    )
    log_every: Positive = Field(50, description="Number of updates between two lines of train.jsonl.")
    execution: Execution | None = Field(
        None,
        description="Processes, precision and attention of a training on GPUs; see docs/training.md. Without "
        "this key, the training runs in one process, on a code path for tiny backbones.",
    )

    @model_validator(mode="after")
    def _can_run(self) -> Training:
        if self.execution is None:
            return self
        strategy = self.execution.strategy
        micro_batches(self.batch, self.execution.processes, self.execution.micro_batch)
        if self.optimiser.name == "muon" and strategy not in WHOLE_MATRICES:
            raise ValueError(
                f"optimiser muon needs whole matrices, but strategy {strategy} splits them: write "
                "`name: adamw`, or `strategy: ddp`"
            )
        if self.optimiser.average and strategy == "zero2":
            raise ValueError(
                "strategy zero2 cannot average the weights: write `average: 0`, or `strategy: fsdp2`"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_execution(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The JSON of a training without `execution` does not mention the key, so the training does not rerun.
        values = handler(self)
        if self.execution is None:
            values.pop("execution", None)
        return values
