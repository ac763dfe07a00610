"""Benchmarks in the configuration: what a VLA learns from, how it predicts, and how it is evaluated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Fraction, Positive, Strict
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.simulators import OptionalSimulator
from vlm4vla.config.training import Training


class Protocol(Strict):
    """How a benchmark is evaluated. `executed`: other numbers of a chunk's steps than `execution_horizon`,
    which the table executed_steps tries."""

    episodes: Positive  # chains on calvin; initial states a task elsewhere
    max_steps: Positive  # per instruction on calvin, per episode elsewhere
    execution_horizon: Positive
    executed: list[Positive] = Field(default_factory=list, exclude_if=lambda steps: not steps)
    seed: int = 0
    videos: Annotated[int, Field(ge=0)] = 3
    simulator: OptionalSimulator = Field(None, exclude_if=lambda value: value is None)


class BenchmarkConfig(Strict):
    demonstrations: Demonstrations
    chunk: Positive
    normalisation: Literal["range", "quantile"]
    shift: Annotated[int, Field(ge=0)] = 0  # random-shift augmentation, pixels
    colour_jitter: Fraction = 0.0
    augmentation: Augmentation | None = Field(None, exclude_if=lambda value: value is None)  # of a data set
    training: Training | None = Field(None, exclude_if=lambda value: value is None)  # in place of `vla`
    evaluation: Protocol

    @model_validator(mode="after")
    def _fits(self) -> BenchmarkConfig:
        if self.demonstrations.dataset is None and self.augmentation is not None:
            raise ValueError("augmentation belongs to demonstrations.dataset: leave it out, or write that")
        if self.demonstrations.dataset is not None and self.colour_jitter:
            raise ValueError("colour_jitter: pictures of a data set take `augmentation`: write 0, and that")
        if self.evaluation.execution_horizon > self.chunk:
            raise ValueError(
                f"evaluation.execution_horizon {self.evaluation.execution_horizon} is above chunk "
                f"{self.chunk}: write at most {self.chunk}"
            )
        executed = self.evaluation.executed
        if len(set(executed)) != len(executed) or max(executed, default=0) > self.chunk:
            raise ValueError(
                f"evaluation.executed {executed}: write each number once, and at most chunk {self.chunk}"
            )
        if self.chunk > self.evaluation.max_steps:
            raise ValueError(
                f"chunk {self.chunk} is longer than an episode (evaluation.max_steps "
                f"{self.evaluation.max_steps}): write at most {self.evaluation.max_steps}"
            )
        return self


HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


class Augmentation(Strict):
    """`crop`: share of the picture's area that a random window shows, resized to the whole.

    `brightness`: largest amount added, in shares of white. `contrast`, `saturation`: largest change of a
    factor around 1. `hue`: largest turn, 1 being the whole circle.
    """

    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: HalfTurn = 0.0
