"""Auxiliary tasks in the configuration: backbones are fine-tuned on them before policy training."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Benchmark, Depth, OmitsDefaults, Positive, Rate, Seed, Strict, TaskName, Width
from vlm4vla.config.public_sets import TaskData
from vlm4vla.config.training import Training

MOST_PATCHES = 65536  # of a map: the transformer attends from each patch to each
LARGEST_MAP = 4096  # pixels, as for `image_size`
WIDEST = 65536  # width of a layer


class DiffusionDecoder(Strict):
    """The diffusion transformer that the task omni-generation adds to the VLM.

    It generates square maps (images, depth, segmentation) from the hidden states of the VLM. After the
    fine-tuning it is discarded.
    """

    size: Positive = Field(description="Height and width of a map, in pixels.")
    patch: Positive = Field(description="Height and width of a patch, in pixels.")
    layers: Depth = Field(description="Layers of the transformer.")
    heads: Width = Field(description="Attention heads.")
    head_width: Width = Field(
        description="Width of an attention head. The decoder is `heads` times `head_width` wide."
    )
    shift: Rate = Field(
        1.0,
        description="Shift of the noise schedule. Above 1, training and sampling use high noise levels more "
        "often.",
    )
    steps: Positive = Field(description="Number of steps of the sampler.")

    @model_validator(mode="after")
    def _divides(self) -> DiffusionDecoder:
        if self.size % self.patch:
            raise ValueError(f"size {self.size} is not a multiple of patch {self.patch}: write a multiple")
        if (self.size // self.patch) ** 2 > MOST_PATCHES:
            raise ValueError(
                f"size {self.size} with patch {self.patch} gives {(self.size // self.patch) ** 2} patches "
                f"per map: write sizes that give at most {MOST_PATCHES}"
            )
        if self.size > LARGEST_MAP:
            raise ValueError(f"size {self.size} is above {LARGEST_MAP}: write {LARGEST_MAP} or less")
        if self.heads * self.head_width > WIDEST:
            raise ValueError(
                f"heads {self.heads} times head_width {self.head_width} is above {WIDEST}: write numbers "
                f"whose product is at most {WIDEST}"
            )
        if self.heads * self.head_width % 4:
            raise ValueError(
                f"heads {self.heads} times head_width {self.head_width} is not a multiple of 4: "
                "write numbers whose product is a multiple of 4"
            )
        return self


class TaskConfig(TaskData):
    """An auxiliary task.

    By default its questions are generated. With `dataset` or `mixture` they come from public datasets. With
    `checkpoint` nothing is trained: the checkpoint replaces the fine-tuned backbone.
    """

    training: Training | None = Field(
        None, description="Replaces `auxiliary.training`, which all tasks share."
    )
    checkpoint: str | None = Field(
        None,
        description="A backbone that was already fine-tuned on the task: a local folder, or (with "
        "`revision`) the name of a model on the Hugging Face hub.",
    )
    decoder: DiffusionDecoder | None = Field(
        None,
        description="The decoder of omni-generation. Required for this task, and not allowed for others.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> TaskConfig:
        if self.checkpoint is not None and self.training is not None:
            raise ValueError("a `checkpoint` is already trained: remove `training` or `checkpoint`")
        if self.checkpoint is not None and self.dataset is not None:
            raise ValueError(
                "`revision` cannot belong to both `dataset` and `checkpoint`: remove one of these two keys"
            )
        if self.revision is not None and self.checkpoint is None and self.dataset is None:
            raise ValueError("`revision` needs a `checkpoint` or a `dataset`: add one, or remove `revision`")
        return self


class Auxiliary(Strict):
    """Fine-tuning of backbones on auxiliary tasks before they are trained into policies."""

    train_pictures: Positive = Field(description="Number of training images per task.")
    held_out_pictures: Positive = Field(description="Number of held-out images per task.")
    questions: Positive = Field(
        description="Number of held-out questions that are scored before and after fine-tuning."
    )
    training: Training = Field(
        description="Fine-tuning of all tasks that have no `training` key of their own."
    )
    seed: Seed = Field(0, description="Seed of the generated images and of the fine-tuning.")
    tasks: dict[TaskName, TaskConfig] = Field(
        description="The auxiliary tasks by name. A task without keys of its own is written as `{}`."
    )
    fast: FastTokens | None = Field(
        None,
        description="FAST injection. With this key, `fast-freeze-vision` and `fast-unfreeze-vision` are "
        "auxiliary tasks, too.",
    )

    @model_validator(mode="after")
    def _decoders(self) -> Auxiliary:
        for name, task in self.tasks.items():
            generates = name == "omni-generation"
            if generates and task.checkpoint is not None:
                raise ValueError(
                    f"tasks.{name}.checkpoint: the task is scored with its decoder, which a checkpoint does "
                    "not contain: remove this key"
                )
            if generates != (task.decoder is not None):
                wrong = (
                    "missing: write the decoder's sizes"
                    if generates
                    else "this task generates no images: remove this key"
                )
                raise ValueError(f"tasks.{name}.decoder: {wrong}")
            if generates and task.uses_public_sets:
                raise ValueError(f"tasks.{name}.dataset: this task generates its own images: remove this key")
            task.resolved_sets(name)  # raises ValueError for missing keys
        return self


FastName = Literal["fast-freeze-vision", "fast-unfreeze-vision"]


class FastTokens(OmitsDefaults):
    """FAST injection: a VLM learns to predict the FAST tokens of a benchmark's demonstrations.

    The tokenizer is fitted on the demonstrations with `vocabulary` and `scale`. With `tokenizer`, a published
    tokenizer is used instead, and `vocabulary` and `scale` are ignored.
    """

    OMITTED_AT_DEFAULT: ClassVar = frozenset({"held_out_pictures"})

    benchmark: Benchmark = Field(description="The benchmark whose demonstrations are used.")
    vocabulary: Positive | None = Field(
        None, description="Largest number of tokens in the vocabulary of the tokenizer."
    )
    scale: Rate | None = Field(
        None, description="Cosine coefficients of normalised actions are rounded to multiples of 1 / scale."
    )
    tokenizer: str | None = Field(
        None,
        description="Folder of the published universal FAST tokenizer, with tokenizer.json and "
        "processor_config.json.",
    )
    pictures: Positive = Field(description="Largest number of training images.")
    held_out_pictures: Positive | None = Field(
        None, description="Largest number of held-out images. By default, it is that of training images."
    )
    training: Training | None = Field(
        None, description="Replaces `auxiliary.training`, which all tasks share."
    )
    seed: Seed = Field(0, description="Seed of the random selection of images.")

    @model_validator(mode="after")
    def _one_source(self) -> FastTokens:
        for key in ("vocabulary", "scale") if self.tokenizer is None else ():
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing: add it, or write `tokenizer: <folder>`")
        return self
