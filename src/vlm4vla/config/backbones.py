"""Backbones in the configuration: tiny ones with their pre-training, and released checkpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Benchmark, Name, Positive, Rate, Seed, Strict
from vlm4vla.config.capability import QuestionSet
from vlm4vla.config.reading import Reading
from vlm4vla.config.training import Training
from vlm4vla.core import registry

# Built-in families whose image processor keeps an image's size within bounds. All others have one fixed size.
WITH_PIXEL_BOUNDS = ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")


class TinySize(Strict):
    """The sizes of a tiny backbone. The workflow builds it with random weights and pre-trains it."""

    hidden: Positive = Field(64, description="Width of the text model.")
    intermediate: Positive = Field(128, description="Width of the text model's feed-forward layers.")
    layers: Positive = Field(3, description="Layers of the text model.")
    heads: Positive = Field(4, description="Attention heads of the text model.")
    key_value_heads: Positive = Field(2, description="Key and value heads of the text model.")
    vision_hidden: Positive = Field(64, description="Width of the vision encoder.")
    vision_intermediate: Positive = Field(
        128, description="Width of the vision encoder's feed-forward layers."
    )
    vision_layers: Positive = Field(2, description="Layers of the vision encoder.")
    vision_heads: Positive = Field(4, description="Attention heads of the vision encoder.")
    experts: Annotated[int, Field(ge=0)] = Field(
        0, description="Experts per layer of a mixture-of-experts family."
    )
    experts_per_token: Annotated[int, Field(ge=0)] = Field(
        0, description="Experts per token of a mixture-of-experts family."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> TinySize:
        for width, heads in (
            ("hidden", "heads"),
            ("vision_hidden", "vision_heads"),
            ("heads", "key_value_heads"),
        ):
            wide, count = getattr(self, width), getattr(self, heads)
            if wide % count:
                raise ValueError(f"{width} {wide} is not a multiple of {heads} {count}: write a multiple")
        if self.experts_per_token > self.experts:
            raise ValueError(
                f"experts_per_token {self.experts_per_token} is above experts {self.experts}: "
                f"write at most {self.experts}"
            )
        return self


class PixelBounds(Strict):
    """The smallest and the largest image that a Qwen-VL model reads, in pixels (height times width).

    These are `min_pixels` and `max_pixels` of transformers' Qwen2-VL image processor. It scales an image
    until its pixels are within the bounds, and makes each side a multiple of the patch size times the merge
    size.
    """

    min: Positive = Field(
        description="Least number of pixels of an image. Smaller images are enlarged: with 200704 "
        "(448 x 448), an image of 224 x 224 pixels becomes 448 x 448."
    )
    max: Positive | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Largest number of pixels of an image. By default the checkpoint's own number.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> PixelBounds:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}: write at least {self.min}")
        return self


class PartNames(Strict):
    """Names of modules of a model, such as `model.vision_tower`, where transformers finds others or none."""

    vision: str | None = Field(None, description="The vision encoder, which `freeze: vision` freezes.")
    language: str | None = Field(None, description="The language model.")
    embedding: str | None = Field(None, description="The word embedding, which `freeze: embedding` freezes.")
    output: str | None = Field(None, description="The output layer, which computes the vocabulary's logits.")


class Backbone(Strict):
    """A vision-language model (VLM): a tiny one (`tiny` and `pretraining`), or a released `checkpoint`."""

    family: str | None = Field(
        None,
        description="A built-in family, such as qwen3_vl, a family that an extension file registers, or any "
        "model type that transformers lists for images and text, such as gemma3. By default, that of the "
        "checkpoint's config.json.",
    )
    parameters_b: Rate | None = Field(
        None,
        description="Size of the real model in billions of parameters, even for a tiny backbone. By default, "
        "that of the checkpoint.",
    )
    tiny: TinySize | None = Field(
        None, description="Sizes of a tiny backbone. It needs `pretraining`, and excludes `checkpoint`."
    )
    pretraining: Name | None = Field(
        None, description="Pre-training of a tiny backbone: a key of `pretraining.recipes`."
    )
    checkpoint: str | None = Field(
        None, description="A local folder, or (with `revision`) the name of a model on the Hugging Face hub."
    )
    revision: str | None = Field(None, description="Commit of the checkpoint on the hub.")
    pixels: PixelBounds | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Bounds of the image size in the checkpoint's image processor, for the families "
        "qwen2_5_vl, qwen3_vl and qwen3_vl_moe. By default the checkpoint's own bounds. Images are first "
        "resized to `image_size`.",
    )
    image_tokens: Positive | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Largest number of tokens of an image, for checkpoints of a model type without an "
        "adapter of its own. Images are not cut into tiles, or become smaller, until the bound is kept.",
    )
    parts: PartNames | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Names of modules, for model types without an adapter of their own. `vlm4vla backbone "
        "CHECKPOINT` shows what is found without them.",
    )
    learning_rates: dict[Benchmark, Rate] = Field(
        default_factory=dict,
        exclude_if=lambda rates: not rates,
        description="For each benchmark: learning rate of the policy training with this backbone, instead of "
        "the usual one.",
    )
    reading: Reading = Field(
        default_factory=Reading,
        exclude_if=lambda reading: reading == Reading(),
        description="How policies with this backbone read their prompt, where it differs from the usual way.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Backbone:
        if self.family is not None:
            self.reading.check_family(self.family)
        elif self.tiny is not None:
            raise ValueError("family: a tiny backbone needs it: write a model type, such as gemma3")
        if self.parameters_b is None and self.tiny is not None:
            raise ValueError("parameters_b: a tiny backbone needs it: write the size of the real model")
        if (self.tiny is None) == (self.checkpoint is None):
            raise ValueError("write either `tiny` (with `pretraining`) or `checkpoint`, not both")
        if (self.tiny is None) != (self.pretraining is None):
            raise ValueError(
                "`tiny` and `pretraining` belong together: write both, or `checkpoint` without them"
            )
        return self

    @model_validator(mode="after")
    def _is_generic(self) -> Backbone:
        for key in ("image_tokens", "parts"):
            if getattr(self, key) is not None and self.family is not None and has_own_adapter(self.family):
                raise ValueError(
                    f"{key}: the family {self.family!r} has an adapter of its own: remove this key"
                )
        if self.image_tokens is not None and self.tiny is not None:
            raise ValueError("image_tokens: a tiny backbone has few: remove this key")
        return self

    @model_validator(mode="after")
    def _has_pixel_bounds(self) -> Backbone:
        if self.pixels is None or self.family is None:  # the family is then found before any job
            return self
        if self.tiny is not None:
            raise ValueError("pixels: a tiny backbone reads images of `image_size` pixels: remove this key")
        if not has_pixel_bounds(self.family):
            raise ValueError(
                f"pixels: the image processor of the family {self.family!r} has one fixed size and no "
                "bounds: remove this key"
            )
        return self


def has_own_adapter(family: str) -> bool:
    """Whether `family` is built in or registered, so that its adapter knows its modules and its images."""
    return family in registry.FAMILIES or registry.find("family", family) is not None


def has_pixel_bounds(family: str) -> bool:
    """Whether the image processor of `family` has bounds of the image size instead of one fixed size."""
    if family in registry.FAMILIES:
        return family in WITH_PIXEL_BOUNDS
    own = registry.find("family", family)
    return own is not None and own.has_pixel_bounds


class Questions(Strict):
    """Generated images with questions and answers, for pre-training and for capability scores."""

    train_pictures: Positive = Field(description="Number of images for pre-training.")
    held_out_pictures: Positive = Field(description="Number of held-out images for capability scores.")
    seed: Seed = Field(0, description="Seed of the images and questions.")
    look: Literal["internet", "benchmark"] = Field(
        "internet",
        description="`internet`: cameras, textures and objects that differ from those of the benchmarks. "
        "`benchmark`: the same look as the benchmarks.",
    )


class Recipe(Strict):
    """A pre-training recipe for tiny backbones."""

    mixture: dict[QuestionSet, Rate] = Field(
        description="For each question set: mean number of questions per image and update."
    )
    training: Training = Field(description="The pre-training with the next-token loss.")


class AlignmentConfig(Strict):
    """Contrastive training that aligns the vision encoder's image tokens with words.

    First, this loss is trained alone with the settings `training`. Then it is added to the next-token loss of
    the recipe with `weight`.
    """

    weight: Rate = Field(description="Weight of the contrastive loss; the next-token loss has weight 1.")
    training: Training = Field(description="The training with this loss alone, before every recipe.")


class Pretraining(Strict):
    """Pre-training of tiny backbones."""

    alignment: AlignmentConfig | None = Field(
        None, description="Contrastive training that precedes every recipe."
    )
    recipes: dict[Name, Recipe] = Field(
        description="Pre-training recipes by name. `backbones.NAME.pretraining` selects one."
    )
    seed: Seed = Field(0, description="Seed of the initial weights and of the training.")
