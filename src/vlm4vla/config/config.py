"""The study's configuration, whole: every key, and that the names in it fit together.

A stage never sees `Config`: `vlm4vla.study.settings` cuts out what the stage depends on, so that a changed
key reruns what it changes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from vlm4vla.config.auxiliary import Auxiliary, FastName
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.base import Name, Positive, Seeds, Strict
from vlm4vla.config.benchmarks import BenchmarkConfig
from vlm4vla.config.capability import Capability
from vlm4vla.config.experts import Expert
from vlm4vla.config.extensions import Extended
from vlm4vla.config.faults import fault_lines
from vlm4vla.config.heads import MlpHeadSettings
from vlm4vla.config.names import Benchmark
from vlm4vla.config.pretraining import Pretraining, Questions
from vlm4vla.config.simulators import check_simulators
from vlm4vla.config.tables import FINE_TUNED, Cells, TableName
from vlm4vla.config.training import Training
from vlm4vla.core.errors import UserError, nearest

RESERVED = ("all", "random", "expert")  # words that stand where a backbone's name may stand


class Variant(Strict):
    """How a VLA is made of a backbone; `training` here replaces a benchmark's and the study's."""

    freeze: Literal["none", "vision", "embedding"] = "none"
    initial_weights: Literal["backbone", "random"] = "backbone"
    training: Training | None = None


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


def load_config(raw: Mapping[str, Any], source: str = "config.yaml") -> Config:
    """Validate a raw configuration.

    Raises UserError with one line for each fault: the key, what is wrong, and what to write instead.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        lines = [f"{source}: {line}" for line in fault_lines(error, Config)]
        raise UserError("\n".join(lines)) from None


def schema() -> dict[str, Any]:
    """JSON schema of config.yaml (draft 2020-12), for editors and for the file in workflow/schemas/."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
