"""Auxiliary tasks in the configuration: what a backbone is fine-tuned on before it becomes a policy."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from vlm4vla.config.base import Positive, Rate, Strict
from vlm4vla.config.names import Benchmark, TaskName
from vlm4vla.config.public_sets import TaskSet
from vlm4vla.config.training import Training


class DiffusionDecoder(Strict):
    """A diffusion transformer that is attached to a VLM's hidden states (omni-generation) and thrown away.

    It is `heads` times `head_width` wide and draws maps of `size` pixels a side in patches of `patch` pixels.
    """

    size: Positive
    patch: Positive
    layers: Positive
    heads: Positive
    head_width: Positive
    shift: Rate = 1.0  # above 1: training and sampling spend more of their times at much noise
    steps: Positive  # of the sampler

    @model_validator(mode="after")
    def _divides(self) -> DiffusionDecoder:
        if self.size % self.patch:
            raise ValueError(f"size {self.size} is not a multiple of patch {self.patch}: write one that is")
        if self.heads * self.head_width % 4:
            raise ValueError(
                f"heads {self.heads} times head_width {self.head_width} is no multiple of 4: "
                "write ones whose product is"
            )
        return self


class AuxiliaryTask(TaskSet):
    """`training` here replaces the shared one for this task; a `checkpoint` stands in place of any training.

    `checkpoint` is a local folder, or with `revision` a hub name, of a backbone that has learnt the task.
    With a `dataset`, or a `mixture` of some, the task's questions are those of a public set (`TaskSet`).
    """

    training: Training | None = None
    checkpoint: str | None = None
    decoder: DiffusionDecoder | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AuxiliaryTask:
        if self.checkpoint is not None and self.training is not None:
            raise ValueError("a `checkpoint` is trained already: leave out `training`, or `checkpoint`")
        if self.checkpoint is not None and self.dataset is not None:
            raise ValueError("`revision` would be of two things: leave out `dataset`, or `checkpoint`")
        if self.revision is not None and self.checkpoint is None and self.dataset is None:
            raise ValueError("`revision` belongs to a `checkpoint`: write that too, or leave `revision` out")
        return self


class Auxiliary(Strict):
    """Fine-tuning on auxiliary tasks before a backbone becomes a policy; one key of `tasks` a task."""

    train_pictures: Positive
    held_out_pictures: Positive
    questions: Positive  # held-out ones that are scored before and after
    training: Training
    seed: int = 0
    tasks: dict[TaskName, AuxiliaryTask]
    fast: FastTokens | None = None

    @model_validator(mode="after")
    def _decoders(self) -> Auxiliary:
        for name, task in self.tasks.items():
            generates = name == "omni-generation"
            if generates and task.checkpoint is not None:
                raise ValueError(
                    f"tasks.{name}.checkpoint: the task is scored by its decoder, which no checkpoint holds: "
                    "leave it out"
                )
            if generates != (task.decoder is not None):
                wrong = "missing: write its widths" if generates else "this task draws nothing: leave it out"
                raise ValueError(f"tasks.{name}.decoder: {wrong}")
            if generates and task.has_set:
                raise ValueError(f"tasks.{name}.dataset: this task draws its own pictures: leave it out")
            task.members(name)  # raises ValueError for what is missing
        return self


FastName = Literal["fast-freeze-vision", "fast-unfreeze-vision"]


class FastTokens(Strict):
    """FAST tokens of a benchmark's demonstrations, which a VLM learns to say.

    They are fitted on the demonstrations with `vocabulary` and `scale`. With `tokenizer`, a local folder of
    the published universal tokenizer, nothing is fitted; it has its own vocabulary and scale, and the two
    keys, which a configuration layer cannot take away, are not read.
    """

    benchmark: Benchmark
    vocabulary: Positive | None = None  # most tokens that there may be
    scale: Rate | None = None  # normalised cosine coefficients are rounded to multiples of 1 / scale
    tokenizer: str | None = None  # folder with tokenizer.json and processor_config.json
    pictures: Positive  # of training, and of held-out episodes, at most
    training: Training | None = None  # replaces the shared one
    seed: int = 0

    @model_validator(mode="after")
    def _one_source(self) -> FastTokens:
        for key in ("vocabulary", "scale") if self.tokenizer is None else ():
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing: write it, or `tokenizer: <folder>` of a fitted one")
        return self
