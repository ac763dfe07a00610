"""Where question scores of a VLM come from: our own questions, lmms-eval, or a table of published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from vlm4vla.config.base import Fraction, Name, Positive, Rate, Sparse, Strict
from vlm4vla.core.errors import nearest

QuestionSet = Literal["caption", "where", "colour", "count", "relation", "existence", "pointing", "state"]
Source = Literal["embedded", "lmms-eval", "scores"]

# lmms-eval's task: the metric that is its score, and what that is out of (the task's YAML in lmms-eval 0.7)
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
# transformers' model_type: lmms-eval's own name of the model that reads its checkpoints. Its qwen3_vl knows
# a mixture of experts by a name such as A3B in the path, which a folder here need not have. PaliGemma and
# Kosmos-2 have none in lmms-eval 0.7.
MODELS = {
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "qwen3_vl_moe": "huggingface",
    "internvl": "internvl_hf",
}


class LmmsTask(Strict):
    """How a task of lmms-eval becomes a score in 0..1: its `metric` divided by `out_of`.

    `metric` is lmms-eval's name, with its filter behind a comma where a metric has several.
    """

    metric: str
    out_of: Rate = 1.0


def _tasks(value: Any) -> Any:
    """A list of known tasks, or a mapping whose empty values stand for what is known of a task."""
    if isinstance(value, list):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{value!r} names no task: write `[mmmu_val, pope]`, or `TASK: {{metric: NAME}}`")
    found = {}
    for name, given in value.items():
        given = {"metric": given} if isinstance(given, str) else dict(given or {})
        if "metric" not in given:
            if name not in KNOWN_TASKS:
                raise ValueError(
                    f"unknown task {name!r}: {nearest(str(name), KNOWN_TASKS)}; of another task write "
                    f"`{name}: {{metric: NAME, out_of: NUMBER}}`"
                )
            metric, out_of = KNOWN_TASKS[name]
            given = {"metric": metric, "out_of": out_of} | given
        found[name] = given
    return found


class LmmsEval(Strict):
    """How lmms-eval is run, and which of its result files are there already.

    `results` takes `vlm` or `vlm/auxiliary` to a results.json of lmms-eval, which is read in place of a run.
    `models` adds to, or replaces in, `MODELS`. `arguments` go into lmms-eval's model_args.
    """

    tasks: Annotated[
        dict[str, LmmsTask], BeforeValidator(_tasks, json_schema_input_type=dict[str, Any] | list[str])
    ]
    limit: Positive | None = None  # questions of a task; none: all
    batch: Positive = 1
    models: dict[str, str] = Field(default_factory=dict)  # of a family
    arguments: dict[Name, str | int | float | bool] = Field(default_factory=dict)
    include: str | None = None  # folder with further tasks
    environment: str = ".venv-lmms-eval"  # folder of the environment that lmms-eval is installed in
    results: dict[str, str] = Field(default_factory=dict)

    def model_of(self, family: str) -> str | None:
        """lmms-eval's model for a family, None where there is none."""
        return {**MODELS, **self.models}.get(family)


class PublishedScores(Strict):
    """A CSV with the columns model and score, and where there are any set, auxiliary, questions and
    standard_error; scores and standard errors are out of `out_of`."""

    file: str
    out_of: Rate = 100.0


class Capability(Sparse):
    """`questions_per_set` and `sets` are of the source `embedded`. What belongs to another source than the
    one that is set, which a configuration layer cannot take away, is not read."""

    LATER: ClassVar[frozenset[str]] = frozenset({"source", "lmms_eval", "scores"})

    questions_per_set: Positive
    sets: list[QuestionSet]
    source: Source = "embedded"
    lmms_eval: LmmsEval | None = None
    scores: PublishedScores | None = None

    @model_validator(mode="after")
    def _whole(self) -> Capability:
        if self.source == "lmms-eval" and self.lmms_eval is None:
            raise ValueError("source is lmms-eval: write `lmms_eval: {tasks: [...]}` beside it")
        if self.source == "scores" and self.scores is None:
            raise ValueError("source is scores: write `scores: {file: PATH}` beside it")
        return self

    def embedded(self) -> Capability:
        """What the embedded source depends on."""
        return self.model_copy(update={"lmms_eval": None, "scores": None})


class GivenScore(Strict):
    """A score in 0..1, over how many questions, and its standard error; None where nobody says."""

    score: Fraction
    questions: Positive | None = None
    standard_error: Annotated[float, Field(ge=0)] | None = None
