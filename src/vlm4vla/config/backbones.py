"""Backbones in the configuration: a tiny one that is built here, or a checkpoint."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from vlm4vla.config.base import Name, Positive, Rate, Strict
from vlm4vla.config.names import Benchmark


class TinySize(Strict):
    """The widths of a backbone that is built from a config instead of downloaded."""

    hidden: Positive = 64
    intermediate: Positive = 128
    layers: Positive = 3
    heads: Positive = 4
    key_value_heads: Positive = 2
    vision_hidden: Positive = 64
    vision_intermediate: Positive = 128
    vision_layers: Positive = 2
    vision_heads: Positive = 4
    experts: Annotated[int, Field(ge=0)] = 0
    experts_per_token: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _heads_divide(self) -> TinySize:
        for width, heads in (
            ("hidden", "heads"),
            ("vision_hidden", "vision_heads"),
            ("heads", "key_value_heads"),
        ):
            wide, count = getattr(self, width), getattr(self, heads)
            if wide % count:
                raise ValueError(f"{width} {wide} is not a multiple of {heads} {count}: write one that is")
        if self.experts_per_token > self.experts:
            raise ValueError(
                f"experts_per_token {self.experts_per_token} is above experts {self.experts}: "
                f"write at most {self.experts}"
            )
        return self


class Backbone(Strict):
    """A VLM: a transformers `model_type`, and a tiny size with a pre-training recipe, or a checkpoint.

    `checkpoint` is a local folder, or with `revision` a hub name. `learning_rates`: of VLA training on a
    benchmark, in place of its training's.
    """

    family: str  # transformers model_type
    parameters_b: Rate  # the real model's size, in billions
    tiny: TinySize | None = None
    pretraining: Name | None = None  # key of pretraining.recipes
    checkpoint: str | None = None  # local folder or hub name
    revision: str | None = None
    learning_rates: dict[Benchmark, Rate] = Field(default_factory=dict, exclude_if=lambda rates: not rates)

    @model_validator(mode="after")
    def _one_source(self) -> Backbone:
        if (self.tiny is None) == (self.checkpoint is None):
            raise ValueError(
                "write either `tiny` (with `pretraining`) or `checkpoint`, not both and not neither"
            )
        if (self.tiny is None) != (self.pretraining is None):
            raise ValueError("`tiny` needs `pretraining: <recipe>`, and only `tiny` takes it")
        return self
