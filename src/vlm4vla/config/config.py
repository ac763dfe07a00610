"""The configuration: all keys of config.yaml, and the checks of names that refer to other keys.

A stage does not receive the `Config`. `vlm4vla.study.settings` selects the settings that the stage depends
on, so a changed key reruns only the stages that use the key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from vlm4vla.config.analysis import Margins
from vlm4vla.config.auxiliary import Auxiliary, FastName
from vlm4vla.config.backbones import Backbone, Pretraining, Questions
from vlm4vla.config.base import Benchmark, Name, OmitsDefaults, Seeds
from vlm4vla.config.benchmarks import BenchmarkConfig, check_stops
from vlm4vla.config.capability import Capability
from vlm4vla.config.error_messages import error_lines
from vlm4vla.config.policies import Expert, MlpHeadSettings, Variant
from vlm4vla.config.released_policies import check_released
from vlm4vla.config.simulators import check_simulators
from vlm4vla.config.tables import Cells, ConfiguredTable
from vlm4vla.config.training import Training
from vlm4vla.config.transfer import Transfer
from vlm4vla.conventions.actions import FAST_SYMBOLS, largest_fast_coefficient
from vlm4vla.conventions.scales import Scale
from vlm4vla.conventions.tables import TABLES
from vlm4vla.core import registry
from vlm4vla.core.errors import UserError, suggestion

# Words that have another meaning where a backbone's name is expected.
RESERVED = ("all", "random", "expert")


def _without_removed(tables: Any) -> Any:
    """The tables that are not null."""
    if not isinstance(tables, Mapping):
        return tables
    return {name: cells for name, cells in tables.items() if cells is not None}


class Config(OmitsDefaults):
    """The configuration of a study (config.yaml)."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset(
        {"extensions", "analysis", "policies_of", "transfer"}
    )

    extensions: list[str] = Field(
        default_factory=list,
        description="Your own Python files, which register families, benchmarks or auxiliary tasks. Paths "
        "are relative to the folder of the Snakefile. The files run whenever the configuration is read.",
    )
    study: Name = Field(description="Name of the study. It is also the name of its folder under `results`.")
    scale: Scale = Field(
        description="`embedded`: tiny backbones and small benchmarks on a CPU. `smoke`: the same with few "
        "steps, to test the software. `paper`: released checkpoints and real simulators on GPUs. `released`: "
        "the same with the behaviour of the study's released code (docs/fidelity.md)."
    )
    results: str = Field("results", description="Folder of all results.")
    policies_of: Name | None = Field(
        None,
        description="Name of another study under `results`. This study evaluates the policies of that study "
        "and trains nothing. The settings of all trainings must be those of that study.",
    )
    image_size: Annotated[int, Field(gt=0, le=4096)] = Field(
        64, description="Height and width of the images that the backbones read, in pixels."
    )
    seeds: Seeds = Field(description="Training seeds. Each policy is trained once per seed.")
    backbones: dict[Name, Backbone] = Field(
        description="The vision-language models of the study, by name. Tables with `backbones: all` show "
        "them in this order."
    )
    questions: Questions = Field(
        description="Generated images with questions, for the pre-training of tiny backbones and for "
        "capability scores."
    )
    pretraining: Pretraining = Field(description="Pre-training of the tiny backbones.")
    capability: Capability = Field(description="Question scores, which measure what a backbone knows.")
    auxiliary: Auxiliary | None = Field(
        None,
        description="Fine-tuning of backbones on auxiliary tasks before policy training. Without this key, "
        "no backbone is fine-tuned.",
    )
    benchmarks: dict[Benchmark, BenchmarkConfig] = Field(
        description="The benchmarks on which policies are trained and evaluated, by name."
    )
    head: MlpHeadSettings = Field(
        description="The action head of all policies except the expert VLAs, which have their own."
    )
    vla: Training = Field(description="Training of the policies (VLAs).")
    variants: dict[Name, Variant] = Field(description="The ways to train a policy from a backbone, by name.")
    experts: dict[Name, Expert] = Field(
        default_factory=dict,
        description="Expert VLAs by name: our versions of published policies (docs/experts.md).",
    )
    tables: Annotated[
        dict[ConfiguredTable, Cells],
        Field(min_length=1),
        BeforeValidator(_without_removed, json_schema_input_type=dict[ConfiguredTable, Cells | None]),
    ] = Field(
        description="The tables of the study. A cell that is in several tables is computed once. In a file "
        "that overrides another one, `null` removes a table."
    )
    analysis: Margins = Field(
        default_factory=Margins,
        description="The margins behind the words of tables and summary (docs/statistics.md). Choose them "
        "before the first rollout.",
    )
    transfer: Transfer = Field(
        default_factory=Transfer,
        description="Other studies for the table `transfer`, which shows whether the ranking of the "
        "backbones carries over from one benchmark to another. A study with several benchmarks needs no such "
        "key.",
    )
    minimum_free_gb: Annotated[float, Field(ge=0, le=1e9)] = Field(
        3.0, description="Free disk space, in GB, that must be available when a run starts."
    )
    published_scores: str | None = Field(
        None,
        description="CSV file with the columns model and score: question scores of the real backbones, for "
        "the target `published`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _run_extensions(cls, raw: Any) -> Any:
        """Run the extension files before the names that they register are checked."""
        if isinstance(raw, Mapping):
            paths = raw.get("extensions", [])
            valid = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
            registry.activate(paths if valid else [])
        return raw

    @field_validator("results")
    @classmethod
    def _is_a_folder(cls, folder: str) -> str:
        """The path with the home folder in place of `~`."""
        for text, meaning in (
            ("{", "has a brace, which Snakemake reads as a wildcard"),
            ("}", "has a brace, which Snakemake reads as a wildcard"),
            ("$", "has a $, and variables of the shell are not replaced"),
            ("://", "is the address of a storage, and results need a folder"),
        ):
            if text in folder:
                raise ValueError(f"{folder!r} {meaning}: write another path")
        if not folder.strip() or not folder.isprintable():
            raise ValueError(f"{folder!r} is empty, or has a character that is not printable: write a path")
        return os.path.expanduser(folder)

    @field_validator("extensions")
    @classmethod
    def _extensions_are_unique(cls, paths: list[str]) -> list[str]:
        if len(set(paths)) != len(paths):
            raise ValueError(f"{paths} repeats a file: write each once")
        return paths

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        if self.policies_of == self.study:
            raise ValueError(
                f"policies_of: {self.policies_of!r} is this study: write another study, or remove the key"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} repeats a seed: write each once")
        for name, backbone in self.backbones.items():
            if name in RESERVED:
                raise ValueError(f"backbones.{name}: the name is taken: write another one")
            recipe = backbone.pretraining
            if recipe is not None and recipe not in self.pretraining.recipes:
                raise ValueError(
                    f"backbones.{name}.pretraining: unknown recipe {recipe!r}: "
                    + suggestion(recipe, self.pretraining.recipes)
                )
        for name, expert in self.experts.items():
            if name in RESERVED or name in self.backbones:
                raise ValueError(f"experts.{name}: the name is taken: write another one")
            if expert.backbone not in self.backbones:
                raise ValueError(
                    f"experts.{name}.backbone: unknown backbone {expert.backbone!r}: "
                    + suggestion(expert.backbone, self.backbones)
                )
            try:
                expert.reading.check_family(self.backbones[expert.backbone].family)
            except ValueError as error:
                raise ValueError(f"experts.{name}.{error}") from None
            for benchmark, settings in self.benchmarks.items():
                chunk = expert.chunk or settings.chunk
                horizon = expert.execution_horizon or settings.evaluation.execution_horizon
                if horizon > chunk:
                    raise ValueError(
                        f"experts.{name}: on {benchmark} it would execute {horizon} steps of a chunk of "
                        f"{chunk}: write an execution_horizon of at most {chunk}"
                    )
        self._fast_fits()
        self._shifts_fit()
        check_simulators(self.benchmarks, self.experts)
        check_released(self.benchmarks, self.experts)
        check_stops(self.benchmarks, self.backbones, self.variants)
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
                            f"tables.{table}.{key}: unknown {key[:-1]} {word!r}: " + suggestion(word, known)
                        )
            self._auxiliaries_exist(table, cells)
        return self

    def _auxiliaries_exist(self, table: str, cells: Cells) -> None:
        """Raise ValueError if `cells.auxiliaries` has an unknown name, or has no list for a backbone."""
        key, value, known = f"tables.{table}.auxiliaries", cells.auxiliaries, self.auxiliaries()
        lists = value if isinstance(value, dict) else {"": value}
        for word in (word for words in lists.values() for word in words):
            if word not in known:
                raise ValueError(f"{key}: unknown auxiliary task {word!r}: " + suggestion(word, known))
        if not TABLES[table].fine_tuned and any(words != ["none"] for words in lists.values()):
            others = " or ".join(f"tables.{name}" for name, entry in TABLES.items() if entry.fine_tuned)
            raise ValueError(
                f"{key}: this table shows no fine-tuned backbones: write [none], or list the tasks in "
                f"{others}"
            )
        if not isinstance(value, dict):
            return
        for name in value:
            if name not in self.backbones:
                raise ValueError(f"{key}: unknown backbone {name!r}: " + suggestion(name, self.backbones))
        for name in self.backbones if cells.backbones == ["all"] else cells.backbones:
            if name not in value:
                raise ValueError(f"{key}: backbone {name!r} has no list: write `{name}: [none, TASK, ...]`")

    def _fast_fits(self) -> None:
        """Raise ValueError if FAST has fewer tokens than coefficients, or more than there are characters."""
        fast = self.auxiliary.fast if self.auxiliary is not None else None
        if fast is None:
            return
        if fast.benchmark not in self.benchmarks:
            raise ValueError(
                f"auxiliary.fast.benchmark: the study has no benchmark {fast.benchmark!r}: "
                + suggestion(fast.benchmark, self.benchmarks)
            )
        if fast.tokenizer is not None or fast.scale is None or fast.vocabulary is None:
            return
        chunk = self.benchmarks[fast.benchmark].chunk
        coefficients = 2 * largest_fast_coefficient(chunk, fast.scale) + 1
        if coefficients > FAST_SYMBOLS:
            raise ValueError(
                f"auxiliary.fast.scale: {fast.scale:g} gives {coefficients} coefficients, and each needs a "
                f"character of {FAST_SYMBOLS}: write at most {int((FAST_SYMBOLS - 3) / 2 / chunk**0.5)}"
            )
        if fast.vocabulary < coefficients:
            raise ValueError(
                f"auxiliary.fast.vocabulary: {fast.vocabulary} is below the {coefficients} coefficients that "
                f"chunks of {chunk} steps have at scale {fast.scale:g}: write at least {coefficients}"
            )

    def _shifts_fit(self) -> None:
        """Raise ValueError for an augmentation that can move an image out of itself."""
        for name, benchmark in self.benchmarks.items():
            moves = benchmark.shift if isinstance(benchmark.shift, tuple) else (benchmark.shift,)
            if max(map(abs, moves)) >= self.image_size:
                raise ValueError(
                    f"benchmarks.{name}.shift: {max(moves, key=abs)} pixels move an image of "
                    f"{self.image_size} pixels out of itself: write less than {self.image_size}"
                )

    def auxiliaries(self) -> list[str]:
        """Names of what a backbone can be fine-tuned on: `none`, the tasks, and FAST if it is configured."""
        if self.auxiliary is None:
            return ["none"]
        return ["none", *self.auxiliary.tasks, *(get_args(FastName) if self.auxiliary.fast else ())]


def load_config(raw: Mapping[str, Any], source: str = "config.yaml") -> Config:
    """Validate a raw configuration. `source`: the file that the messages name.

    Raises UserError with one line per error: the key, what is wrong, and what to write instead.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        lines = [f"{source}: {line}" for line in error_lines(error, Config)]
        raise UserError("\n".join(lines)) from None


def schema() -> dict[str, Any]:
    """The JSON schema of config.yaml (draft 2020-12), for editors and for workflow/schemas/."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
