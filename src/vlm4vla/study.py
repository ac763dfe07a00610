"""The study as a table of runs: which VLAs and rollouts each table needs, and where every artefact lies.

The workflow's rules ask this module for their settings, inputs and targets. Methods that a rule calls take
Snakemake's wildcards, or a `Run`: anything with the attributes they read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vlm4vla.artefacts import canonical_json
from vlm4vla.config import AuxiliaryTask, Cells, Config
from vlm4vla.report.outputs import outputs
from vlm4vla.settings import (
    AuxiliaryDataSettings,
    AuxiliarySettings,
    BackboneSettings,
    CapabilitySettings,
    DemonstrationsSettings,
    FastDataSettings,
    QuestionsSettings,
    RolloutSettings,
    TableSettings,
    VlaSettings,
)

REFERENCES = ("random", "expert")  # floor and ceiling: policies that no backbone stands behind
FAST = ("fast-freeze-vision", "fast-unfreeze-vision")  # FAST injection as a value of `auxiliary`
TARGETS = {
    "all_tables": ("main", "freeze", "scratch", "correlation"),
    "table_main": ("main",),
    "table_freeze": ("freeze",),
    "table_scratch": ("scratch",),
    "correlation": ("correlation",),
}


@dataclass(frozen=True, order=True)
class Run:
    """One VLA (or reference policy) on one benchmark: the key of its training and of its rollouts."""

    vlm: str
    auxiliary: str
    variant: str
    benchmark: str
    seed: int

    @property
    def key(self) -> str:
        """The run's folder below `vla/` and below `rollouts/`."""
        return f"{self.vlm}/{self.auxiliary}/{self.variant}/{self.benchmark}/seed{self.seed}"


def settings_json(settings: BaseModel) -> str:
    """Canonical JSON of a settings model: what a stage's command takes and what Snakemake compares."""
    return canonical_json(settings.model_dump(mode="json"))


class Study:
    """The runs, settings and files of one configuration."""

    def __init__(self, config: Config):
        self.config = config
        self.root = Path(config.results) / config.study

    # The tables' runs ----------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Tables that the configuration asks for; `correlation` is made wherever `main` is."""
        return [*self.config.tables, *(["correlation"] if "main" in self.config.tables else [])]

    def cells_of(self, table: str) -> Cells:
        """The product that `table` shows, `all` written out; `correlation` shows the cells of `main`."""
        cells = self.config.tables["main" if table == "correlation" else table]
        if cells.backbones != ["all"]:
            return cells
        return cells.model_copy(update={"backbones": list(self.config.backbones)})

    def cells(self, table: str) -> list[Run]:
        """The VLAs that `table` holds, in its order."""
        cells = self.cells_of(table)
        return [
            Run(vlm, "none", variant, benchmark, seed)
            for benchmark in cells.benchmarks
            for vlm in cells.backbones
            for variant in cells.variants
            for seed in self.config.seeds
        ]

    def references(self, table: str) -> list[Run]:
        """Floor and ceiling of every benchmark of `table`."""
        return [
            Run(policy, "none", "full", benchmark, 0)
            for benchmark in self.cells_of(table).benchmarks
            for policy in REFERENCES
        ]

    # Files ---------------------------------------------------------------------------------------

    def questions_path(self) -> str:
        return f"{self.root}/questions/provenance.json"

    def backbone_path(self, vlm: str) -> str:
        return f"{self.root}/backbones/{vlm}/provenance.json"

    def capability_path(self, vlm: str, auxiliary: str = "none") -> str:
        return f"{self.root}/capability/{vlm}/{auxiliary}.json"

    def auxiliary_data_path(self, task: str) -> str:
        return f"{self.root}/auxiliary_data/{task}/provenance.json"

    def task_data_path(self, wildcards: Any) -> str:
        """What the task `wildcards.task` learns from; FAST injection has one set for both of its forms."""
        return self.auxiliary_data_path("fast" if wildcards.task in FAST else wildcards.task)

    def fast_demonstrations_path(self, wildcards: Any) -> str:
        return self.demonstrations_path(self.config.auxiliary.fast.benchmark)

    def auxiliary_path(self, vlm: str, task: str) -> str:
        return f"{self.root}/auxiliary/{vlm}/{task}/provenance.json"

    def vlm_path(self, wildcards: Any) -> str:
        """The Hugging Face folder that `wildcards.vlm` is after `wildcards.auxiliary`."""
        if wildcards.auxiliary == "none":
            return self.backbone_path(wildcards.vlm)
        return self.auxiliary_path(wildcards.vlm, wildcards.auxiliary)

    def auxiliaries(self) -> list[str]:
        """What `auxiliary` may be in a path: none, or a task of the configuration."""
        auxiliary = self.config.auxiliary
        if auxiliary is None:
            return ["none"]
        return ["none", *auxiliary.tasks, *(FAST if auxiliary.fast else ())]

    def demonstrations_path(self, benchmark: str) -> str:
        return f"{self.root}/demonstrations/{benchmark}/provenance.json"

    def vla_path(self, run: Run) -> str:
        return f"{self.root}/vla/{run.key}/provenance.json"

    def episodes_path(self, run: Run) -> str:
        return f"{self.root}/rollouts/{run.key}/episodes.parquet"

    def table_files(self, table: str) -> list[str]:
        return [f"{self.root}/{name}" for name in outputs(table)]

    def target_of(self, table: str) -> str:
        """The target that makes `table` alone, and the name of its rule."""
        return next(name for name, tables in TARGETS.items() if tables == (table,))

    def published(self, table: str) -> str:
        """The paper's numbers that stand beside `table`."""
        return f"workflow/published/{'main' if table == 'scratch' else table}.csv"

    def published_beside(self, table: str) -> list[str]:
        """Further published numbers that `table` reads."""
        return ["workflow/published/main.csv"] if table == "correlation" else []

    def table_episodes(self, table: str) -> list[str]:
        """Episode tables that `table` is made of."""
        return [self.episodes_path(run) for run in (*self.cells(table), *self.references(table))]

    def table_capability(self, table: str) -> list[str]:
        """Capability scores that `table` is made of."""
        backbones = self.cells_of(table).backbones if table == "correlation" else []
        return [self.capability_path(vlm) for vlm in backbones]

    def table_curves(self, table: str) -> list[str]:
        """VLAs whose training curves `table` draws."""
        return [self.vla_path(run) for run in self.cells(table)] if table == "main" else []

    def targets(self, name: str) -> list[str]:
        """Files of a target: those of its tables that this configuration has."""
        here = [table for table in TARGETS[name] if table in self.tables()]
        return [path for table in here for path in self.table_files(table)]

    def declared(self) -> list[str]:
        """Every artefact of `all_tables`, the intermediate ones too, each once."""
        files = [self.questions_path()]
        for table in self.tables():
            cells = self.cells_of(table)
            files += [self.backbone_path(vlm) for vlm in cells.backbones]
            files += [self.demonstrations_path(benchmark) for benchmark in cells.benchmarks]
            files += [self.vla_path(run) for run in self.cells(table)]
            files += [*self.table_episodes(table), *self.table_capability(table), *self.table_files(table)]
        return list(dict.fromkeys(files))

    # Settings: the JSON that a stage's command takes, and nothing that the stage does not depend on -

    def questions_settings(self, wildcards: Any = None) -> str:
        return settings_json(
            QuestionsSettings(questions=self.config.questions, image_size=self.config.image_size)
        )

    def backbone_settings(self, wildcards: Any) -> str:
        backbone = self.config.backbones[wildcards.vlm]
        pretraining = self.config.pretraining
        recipe = pretraining.recipes[backbone.pretraining] if backbone.pretraining else None
        return settings_json(
            BackboneSettings(
                name=wildcards.vlm,
                backbone=backbone,
                recipe=recipe,
                alignment=pretraining.alignment if recipe else None,
                image_size=self.config.image_size,
                seed=pretraining.seed,
            )
        )

    def auxiliary_data_settings(self, wildcards: Any) -> str:
        auxiliary = self.config.auxiliary
        return settings_json(
            AuxiliaryDataSettings(
                task=wildcards.task,
                train_pictures=auxiliary.train_pictures,
                held_out_pictures=auxiliary.held_out_pictures,
                image_size=self.config.image_size,
                seed=auxiliary.seed,
            )
        )

    def fast_data_settings(self, wildcards: Any) -> str:
        fast = self.config.auxiliary.fast
        benchmark = self.config.benchmarks[fast.benchmark]
        return settings_json(
            FastDataSettings(fast=fast, chunk=benchmark.chunk, normalisation=benchmark.normalisation)
        )

    def auxiliary_settings(self, wildcards: Any) -> str:
        auxiliary = self.config.auxiliary
        own = auxiliary.tasks.get(wildcards.task, AuxiliaryTask())
        return settings_json(
            AuxiliarySettings(
                name=wildcards.vlm,
                task=wildcards.task,
                training=None if own.checkpoint else own.training or auxiliary.training,
                checkpoint=own.checkpoint,
                revision=own.revision,
                decoder=own.decoder,
                questions=auxiliary.questions,
                image_size=self.config.image_size,
                seed=auxiliary.seed,
            )
        )

    def capability_settings(self, wildcards: Any = None) -> str:
        return settings_json(CapabilitySettings(capability=self.config.capability))

    def demonstrations_settings(self, wildcards: Any) -> str:
        benchmark = self.config.benchmarks[wildcards.benchmark]
        return settings_json(
            DemonstrationsSettings(
                benchmark=wildcards.benchmark,
                demonstrations=benchmark.demonstrations,
                image_size=self.config.image_size,
                max_steps=benchmark.evaluation.max_steps,
            )
        )

    def training(self, variant: str) -> Any:
        """VLA training of a variant: its own, or the study's."""
        return self.config.variants[variant].training or self.config.vla

    def vla_settings(self, wildcards: Any) -> str:
        benchmark = self.config.benchmarks[wildcards.benchmark]
        variant = self.config.variants[wildcards.variant]
        return settings_json(
            VlaSettings(
                backbone=wildcards.vlm,
                auxiliary=wildcards.auxiliary,
                variant=wildcards.variant,
                benchmark=wildcards.benchmark,
                seed=int(wildcards.seed),
                freeze=variant.freeze,
                initial_weights=variant.initial_weights,
                chunk=benchmark.chunk,
                normalisation=benchmark.normalisation,
                shift=benchmark.shift,
                colour_jitter=benchmark.colour_jitter,
                head=self.config.head,
                training=self.training(wildcards.variant),
            )
        )

    def rollout_settings(self, wildcards: Any) -> str:
        return settings_json(
            RolloutSettings(
                policy=wildcards.vlm if wildcards.vlm in REFERENCES else "vla",
                backbone=wildcards.vlm,
                auxiliary=wildcards.auxiliary,
                variant=wildcards.variant,
                benchmark=wildcards.benchmark,
                seed=int(wildcards.seed),
                evaluation=self.config.benchmarks[wildcards.benchmark].evaluation,
                image_size=self.config.image_size,
                study=self.config.study,
                scale=self.config.scale,
            )
        )

    def reference_settings(self, wildcards: Any) -> str:
        """Rollout settings of the floor or the ceiling: `wildcards.policy` on `wildcards.benchmark`."""
        return self.rollout_settings(Run(wildcards.policy, "none", "full", wildcards.benchmark, 0))

    def table_settings(self, table: str) -> str:
        cells = self.cells_of(table)
        return settings_json(
            TableSettings(
                table=table,
                study=self.config.study,
                scale=self.config.scale,
                seeds=self.config.seeds,
                cells=cells,
                vla_steps={variant: self.training(variant).steps for variant in cells.variants},
            )
        )
