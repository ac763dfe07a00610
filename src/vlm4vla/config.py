"""The study's configuration: the one place that knows every key.

`Config` is the whole of config.yaml. A stage never sees it: `vlm4vla.study` cuts out the settings that
the stage depends on (the `*Settings` models below), so that a changed key reruns what it changes only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from vlm4vla.artefacts import UserError
from vlm4vla.augmentation_settings import Augmentation
from vlm4vla.capability_settings import Capability, QuestionSet
from vlm4vla.demonstration_settings import Demonstrations
from vlm4vla.experts import Expert
from vlm4vla.extension_settings import Extended
from vlm4vla.fields import Fraction, Name, Positive, Rate, Strict
from vlm4vla.head_settings import KINDS, MlpHeadSettings
from vlm4vla.known_names import Benchmark, TaskName
from vlm4vla.nearest import nearest
from vlm4vla.public_set_settings import TaskSet
from vlm4vla.simulator_settings import OptionalSimulator, check_simulators
from vlm4vla.training_settings import Training

AllOrNames = Literal["all"] | list[Name]
FastName = Literal["fast-freeze-vision", "fast-unfreeze-vision"]
TableName = Literal["main", "freeze", "scratch", "auxiliary", "fast_injection", "executed_steps"]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
FINE_TUNED = ("auxiliary", "fast_injection")  # tables that show backbones after an auxiliary task
RESERVED = ("all", "random", "expert")  # words that stand where a backbone's name may stand


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


class Questions(Strict):
    """Generated question-answer pictures, for pre-training and capability."""

    train_pictures: Positive
    held_out_pictures: Positive
    seed: int = 0
    look: Literal["internet", "benchmark"] = "internet"  # internet: another camera, textures, objects


class Recipe(Strict):
    """What a family is pre-trained on. `mixture`: mean number of statements a picture from each set."""

    mixture: dict[QuestionSet, Rate]
    training: Training


class Aligning(Strict):
    """Contrastive training of the vision encoder with words: alone for `training`, then with `weight` beside
    the next-token loss."""

    weight: Rate
    training: Training


class Pretraining(Strict):
    alignment: Aligning | None = None  # one setting for all families
    recipes: dict[Name, Recipe]
    seed: int = 0


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


class Variant(Strict):
    """How a VLA is made of a backbone; `training` here replaces a benchmark's and the study's."""

    freeze: Literal["none", "vision", "embedding"] = "none"
    initial_weights: Literal["backbone", "random"] = "backbone"
    training: Training | None = None


def _auxiliary_names(value: Any) -> Any:
    """Refuse what is neither a list of names nor a mapping of such lists, in one line and not one a form."""
    lists = list(value.values()) if isinstance(value, Mapping) else [value]
    for words in lists:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ValueError(
                f"{words!r} is no list of names: write `[none, TASK, ...]` for every backbone of the table, "
                "or such a list below each backbone's name"
            )
        if len(set(words)) != len(words):
            raise ValueError(f"{words} repeats a name: write each once")
    return value


class Cells(Strict):
    """A table: the product of what is named here; `backbones: all` is every backbone of the study.

    `auxiliaries`: what each backbone is fine-tuned on before it becomes a policy, `none` for nothing; one
    list, or a mapping from backbones to lists, where backbones that the table does not show are left out.
    `seeds` takes the place of the study's training seeds.
    """

    backbones: Annotated[
        list[Name],
        Field(min_length=1),
        BeforeValidator(
            lambda value: ["all"] if value == "all" else value, json_schema_input_type=AllOrNames
        ),
    ]
    auxiliaries: Annotated[dict[str, list[str]] | list[str], BeforeValidator(_auxiliary_names)] = Field(
        default_factory=lambda: ["none"]
    )
    variants: Annotated[list[Name], Field(min_length=1)]
    experts: list[Name] = Field(default_factory=list)  # expert VLAs that stand beside the backbones
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)]
    seeds: Seeds | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Cells:
        for key in ("backbones", "variants", "experts", "benchmarks"):
            words = getattr(self, key)
            if len(set(words)) != len(words):
                raise ValueError(f"{key} {words} repeats a name: write each once")
        if self.seeds is not None and len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed: write each once")
        return self


class Config(Extended):
    """config.yaml, whole."""

    study: Name
    scale: Literal["embedded", "smoke", "paper"]
    results: str = "results"
    image_size: Positive = 64
    seeds: Seeds
    backbones: dict[Name, Backbone]
    questions: Questions
    pretraining: Pretraining
    capability: Capability
    auxiliary: Auxiliary | None = None
    benchmarks: dict[Benchmark, BenchmarkConfig]
    head: MlpHeadSettings
    vla: Training
    variants: dict[Name, Variant]
    experts: dict[Name, Expert] = Field(default_factory=dict)
    tables: Annotated[dict[TableName, Cells], Field(min_length=1)]
    minimum_free_gb: Annotated[float, Field(ge=0)] = 3.0
    published_scores: str | None = None  # CSV model,score of the real backbones, for the target `published`

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} repeats a seed: write each once")
        for name, backbone in self.backbones.items():
            if name in RESERVED:
                raise ValueError(f"backbones.{name}: the name is taken: write another one")
            recipe = backbone.pretraining
            if recipe is not None and recipe not in self.pretraining.recipes:
                raise ValueError(
                    f"backbones.{name}.pretraining: unknown recipe {recipe!r}: "
                    + nearest(recipe, self.pretraining.recipes)
                )
        for name, expert in self.experts.items():
            if name in RESERVED or name in self.backbones:
                raise ValueError(f"experts.{name}: the name is taken: write another one")
            if expert.backbone not in self.backbones:
                raise ValueError(
                    f"experts.{name}.backbone: unknown backbone {expert.backbone!r}: "
                    + nearest(expert.backbone, self.backbones)
                )
            for benchmark, settings in self.benchmarks.items():
                chunk = expert.chunk or settings.chunk
                horizon = expert.execution_horizon or settings.evaluation.execution_horizon
                if horizon > chunk:
                    raise ValueError(
                        f"experts.{name}: on {benchmark} it would execute {horizon} steps of a chunk of "
                        f"{chunk}: write an execution_horizon of at most {chunk}"
                    )
        check_simulators(self.benchmarks, self.experts)
        for table, cells in self.tables.items():
            for key, known in (
                ("backbones", self.backbones),
                ("variants", self.variants),
                ("experts", self.experts),
                ("benchmarks", self.benchmarks),
            ):
                words = getattr(cells, key)
                for word in () if words == ["all"] else words:
                    if word not in known:
                        raise ValueError(
                            f"tables.{table}.{key}: unknown {key[:-1]} {word!r}: " + nearest(word, known)
                        )
            self._auxiliaries_exist(table, cells)
        return self

    def _auxiliaries_exist(self, table: str, cells: Cells) -> None:
        """Raise ValueError where `cells.auxiliaries` names what there is not, or lacks a backbone."""
        key, given, known = f"tables.{table}.auxiliaries", cells.auxiliaries, self.auxiliaries()
        lists = given if isinstance(given, dict) else {"": given}
        for word in (word for words in lists.values() for word in words):
            if word not in known:
                raise ValueError(f"{key}: unknown auxiliary task {word!r}: " + nearest(word, known))
        if table not in FINE_TUNED and any(words != ["none"] for words in lists.values()):
            raise ValueError(
                f"{key}: this table shows backbones as they are: write [none], or the tasks in "
                f"tables.{' or tables.'.join(FINE_TUNED)}"
            )
        if not isinstance(given, dict):
            return
        for name in given:
            if name not in self.backbones:
                raise ValueError(f"{key}: unknown backbone {name!r}: " + nearest(name, self.backbones))
        for name in self.backbones if cells.backbones == ["all"] else cells.backbones:
            if name not in given:
                raise ValueError(f"{key}: backbone {name!r} has no list: write `{name}: [none, TASK, ...]`")

    def auxiliaries(self) -> list[str]:
        """What a backbone may be fine-tuned on: `none`, the configured tasks, FAST where it is set."""
        if self.auxiliary is None:
            return ["none"]
        return ["none", *self.auxiliary.tasks, *(get_args(FastName) if self.auxiliary.fast else ())]


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    """Keys that the model at `path` of Config takes."""
    node: Any = Config
    for part in path:
        fields = getattr(node, "model_fields", {})
        annotation = fields[part].annotation if part in fields else node
        node = _model_in(annotation) or annotation
    return list(getattr(node, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found:
            return found
    return None


def _without_tags(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """`path` as config.yaml has it: pydantic puts a head's kind after `head`."""
    return tuple(part for i, part in enumerate(path) if not (i and path[i - 1] == "head" and part in KINDS))


def _fault_line(fault: Mapping[str, Any]) -> str:
    """A pydantic fault as the key, what is wrong and what to write."""
    path = tuple(part for part in fault["loc"] if part != "[key]")
    known_path, path = path, _without_tags(path)
    key, given, context = ".".join(map(str, path)), fault.get("input"), fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key: " + nearest(str(path[-1]), _known_keys(known_path[:-1]))
        case "missing":
            return f"{key}: missing: write it"
        case "union_tag_invalid":
            kinds = re.findall(r"'([^']+)'", context["expected_tags"])
            return f"{key}.kind: unknown value {context['tag']!r}: " + nearest(context["tag"], kinds)
        case "union_tag_not_found":
            return f"{key}.kind: missing: write one of {', '.join(KINDS)}"
        case "literal_error":
            known = re.findall(r"'([^']+)'", context["expected"])
            return f"{key}: unknown value {given!r}: " + nearest(str(given), known)
        case "greater_than":
            return f"{key}: {given!r} is not above {context['gt']:g}: write a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"{key}: {given!r} is below {context['ge']:g}: write {context['ge']:g} or more"
    message = fault["msg"].removeprefix("Value error, ")
    if not key or fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (given: {given!r})"


def load_config(raw: Mapping[str, Any], source: str = "config.yaml") -> Config:
    """Validate a raw configuration.

    Raises UserError with one line for each fault: the key, what is wrong, and what to write instead.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        faults = error.errors()
        # What an unknown name lacks is no second fault.
        unknown = {fault["loc"][:-1] for fault in faults if fault["loc"][-1:] == ("[key]",)}
        faults = [
            f
            for f in faults
            if f["loc"][-1:] == ("[key]",) or not any(f["loc"][: len(u)] == u for u in unknown)
        ]
        lines = [f"{source}: {_fault_line(fault)}" for fault in faults]
        raise UserError("\n".join(lines)) from None


def schema() -> dict[str, Any]:
    """JSON schema of config.yaml (draft 2020-12), for editors and for the file in workflow/schemas/."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
