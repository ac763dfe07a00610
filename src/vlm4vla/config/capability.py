"""The source of a VLM's question scores: generated questions, lmms-eval, or a table of published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from vlm4vla.config.base import Fraction, Name, OmitsDefaults, Positive, Rate, Strict
from vlm4vla.core.errors import suggestion

QuestionSet = Literal["caption", "where", "colour", "count", "relation", "existence", "pointing", "state"]
Source = Literal["embedded", "lmms-eval", "scores"]

# lmms-eval task -> the metric that is its score, and the metric's largest value (task YAML files of lmms-eval
# 0.7)
KNOWN_TASKS: dict[str, tuple[str, float]] = {
    "ai2d": ("exact_match", 1),
    "blink": ("blink_acc", 1),
    "chartqa": ("relaxed_overall", 1),
    "cv_bench": ("cv_bench_acc", 1),
    "docvqa_val": ("anls", 1),
    "embspatial": ("embspatial_acc", 1),
    "erqa": ("erqa_acc", 1),
    "gqa": ("exact_match", 1),
    "mme": ("mme_perception_score", 2000),
    "mmmu_val": ("mmmu_acc", 1),
    "mmstar": ("average", 1),
    "ocrbench": ("ocrbench_accuracy", 1),
    "pope": ("pope_accuracy", 1),
    "realworldqa": ("exact_match", 1),
    "scienceqa_img": ("exact_match", 1),
    "seedbench": ("seed_image", 1),
    "textvqa_val": ("exact_match", 1),
    "vqav2_val": ("exact_match", 1),
    "where2place": ("where2place_acc", 1),
}
# transformers model_type -> the lmms-eval model that loads its checkpoints. lmms-eval's qwen3_vl recognises a
# mixture of experts by a name such as A3B in the path, which our folders do not have. lmms-eval 0.7 has no
# model for PaliGemma and Kosmos-2.
LMMS_EVAL_MODELS = {
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "qwen3_vl_moe": "huggingface",
    "internvl": "internvl_hf",
}


class LmmsTask(Strict):
    """How the result of an lmms-eval task becomes a score from 0 to 1."""

    metric: str = Field(
        description="lmms-eval's name of the metric. If a metric has several filters, the filter follows "
        "after a comma."
    )
    out_of: Rate = Field(1.0, description="Largest value of the metric; the score is metric / out_of.")


def _tasks(value: Any) -> Any:
    """Fill in the known metrics. `value`: a list of tasks, or a mapping in which a task can have no value."""
    if isinstance(value, list):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{value!r} names no task: write `[mmmu_val, pope]`, or `TASK: {{metric: NAME}}`")
    tasks = {}
    for name, keys in value.items():
        task = {"metric": keys} if isinstance(keys, str) else dict(keys or {})
        if "metric" not in task:
            if name not in KNOWN_TASKS:
                raise ValueError(
                    f"unknown task {name!r}: {suggestion(str(name), KNOWN_TASKS)}; for any other task write "
                    f"`{name}: {{metric: NAME, out_of: NUMBER}}`"
                )
            metric, out_of = KNOWN_TASKS[name]
            task = {"metric": metric, "out_of": out_of} | task
        tasks[name] = task
    return tasks


class LmmsEval(Strict):
    """Question scores from lmms-eval, which runs in a separate environment (`make env-lmms-eval`)."""

    tasks: Annotated[
        dict[str, LmmsTask], BeforeValidator(_tasks, json_schema_input_type=dict[str, Any] | list[str])
    ] = Field(
        description="Tasks of lmms-eval: a list of known tasks, or a mapping from tasks to their metric and "
        "`out_of`."
    )
    limit: Positive | None = Field(
        None, description="Largest number of questions per task. By default, all questions are used."
    )
    batch: Positive = Field(1, description="lmms-eval's batch size.")
    models: dict[str, str] = Field(
        default_factory=dict,
        description="For each family: the lmms-eval model that loads its checkpoints. These entries extend "
        "the built-in mapping.",
    )
    arguments: dict[Name, str | int | float | bool] = Field(
        default_factory=dict, description="Further arguments for lmms-eval's model_args."
    )
    include: str | None = Field(None, description="Folder with further lmms-eval tasks.")
    environment: str = Field(
        ".venv-lmms-eval", description="Folder of the environment in which lmms-eval is installed."
    )
    results: dict[str, str] = Field(
        default_factory=dict,
        description="For each backbone, or `backbone/auxiliary task`: a results.json of lmms-eval, which is "
        "read instead of running lmms-eval.",
    )

    def model_for(self, family: str) -> str | None:
        """lmms-eval's model for a family, or None."""
        return {**LMMS_EVAL_MODELS, **self.models}.get(family)


class PublishedScores(Strict):
    """Question scores from a CSV file."""

    file: str = Field(
        description="Path of the file. It has the columns model and score, and optionally set, auxiliary, "
        "questions and standard_error."
    )
    out_of: Rate = Field(100.0, description="Largest possible score, on the scale of the file.")


class Capability(OmitsDefaults):
    """Question scores of the VLMs, which measure what a backbone knows.

    Keys that belong to a source other than `source` are ignored.
    """

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({"source", "lmms_eval", "scores"})

    questions_per_set: Positive = Field(
        description="Source `embedded`: number of held-out questions per question set."
    )
    sets: list[QuestionSet] = Field(description="Source `embedded`: the question sets.")
    source: Source = Field(
        "embedded",
        description="Source of the scores. `embedded`: questions that this repository generates. "
        "`lmms-eval`: tasks of lmms-eval. `scores`: a CSV file with scores.",
    )
    lmms_eval: LmmsEval | None = Field(
        None, description="Source `lmms-eval`: the tasks, and how lmms-eval runs. Required for this source."
    )
    scores: PublishedScores | None = Field(
        None, description="Source `scores`: the CSV file. Required for this source."
    )

    @model_validator(mode="after")
    def _source_is_configured(self) -> Capability:
        if self.source == "lmms-eval" and self.lmms_eval is None:
            raise ValueError("source is lmms-eval: add `lmms_eval: {tasks: [...]}`")
        if self.source == "scores" and self.scores is None:
            raise ValueError("source is scores: add `scores: {file: PATH}`")
        return self

    def embedded_only(self) -> Capability:
        """A copy with the keys that the source `embedded` depends on."""
        return self.model_copy(update={"lmms_eval": None, "scores": None})


class QuestionScore(Strict):
    """A score from 0 to 1. The number of questions and the standard error are None if they are unknown."""

    score: Fraction
    questions: Positive | None = None
    standard_error: Annotated[float, Field(ge=0)] | None = None
