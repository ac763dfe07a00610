"""Settings of a study's stages: the JSON that a command takes, and nothing that its stage does not depend on.

A user's own file is in the settings of the stages that meet it first; the others follow from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlm4vla.config.auxiliary import AuxiliaryTask
from vlm4vla.config.stages import (
    AuxiliaryDataSettings,
    AuxiliarySettings,
    BackboneSettings,
    CapabilitySettings,
    CellSettings,
    DemonstrationsSettings,
    ExpertSummary,
    FastDataSettings,
    FilmsSettings,
    QuestionsSettings,
    RolloutSettings,
    TableSettings,
    VlaSettings,
    settings_json,
)
from vlm4vla.core.registry import hash_of
from vlm4vla.study import capability as capability_plan
from vlm4vla.study.departures import departures
from vlm4vla.study.runs import EXECUTED, EXPERT_VARIANT, FAST, REFERENCES, Run, Runs


class StageSettings(Runs):
    """What one configuration says to each stage."""

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
                extension=hash_of("family", backbone.family),
                name=wildcards.vlm,
                backbone=backbone.model_copy(update={"learning_rates": {}}),  # no part of the backbone
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
                extension=hash_of("auxiliary task", wildcards.task),
                task=wildcards.task,
                train_pictures=auxiliary.train_pictures,
                held_out_pictures=auxiliary.held_out_pictures,
                image_size=self.config.image_size,
                seed=auxiliary.seed,
                public=auxiliary.tasks[wildcards.task].public(wildcards.task),
            )
        )

    def fast_data_settings(self, wildcards: Any) -> str:
        fast = self.config.auxiliary.fast.model_copy(update={"training": None})  # no part of the data
        if fast.tokenizer is not None:  # what is not read reruns nothing
            fast = fast.model_copy(update={"vocabulary": None, "scale": None})
        benchmark = self.config.benchmarks[fast.benchmark]
        return settings_json(
            FastDataSettings(fast=fast, chunk=benchmark.chunk, normalisation=benchmark.normalisation)
        )

    def auxiliary_settings(self, wildcards: Any) -> str:
        auxiliary = self.config.auxiliary
        own = auxiliary.tasks.get(wildcards.task, AuxiliaryTask())
        if wildcards.task in FAST:
            own = AuxiliaryTask(training=auxiliary.fast.training)
        return settings_json(
            AuxiliarySettings(
                name=wildcards.vlm,
                task=wildcards.task,
                training=None if own.checkpoint else own.training or auxiliary.training,
                checkpoint=own.checkpoint,
                revision=own.revision if own.checkpoint else None,
                decoder=own.decoder,
                questions=auxiliary.questions,
                image_size=self.config.image_size,
                seed=auxiliary.seed,
            )
        )

    def capability_settings(self, wildcards: Any = None) -> str:
        return settings_json(CapabilitySettings(capability=self.config.capability.embedded()))

    def lmms_eval_settings(self, wildcards: Any) -> str:
        vlm = (wildcards.vlm, wildcards.auxiliary)
        return settings_json(capability_plan.lmms_eval_settings(self.config, vlm))

    def scores_settings(self, wildcards: Any) -> str:
        vlm = (wildcards.vlm, wildcards.auxiliary)
        return settings_json(capability_plan.scores_settings(self.config, vlm))

    def demonstrations_settings(self, wildcards: Any) -> str:
        benchmark = self.config.benchmarks[wildcards.benchmark]
        return settings_json(
            DemonstrationsSettings(
                extension=hash_of("benchmark", wildcards.benchmark),
                benchmark=wildcards.benchmark,
                demonstrations=benchmark.demonstrations.without_recording(),
                image_size=self.config.image_size,
                max_steps=None if benchmark.demonstrations.dataset else benchmark.evaluation.max_steps,
            )
        )

    def _steps(self, vlm: str, variant: str, benchmarks: Iterable[str]) -> int | dict[str, int]:
        """Updates of a VLA training: one number, or of each benchmark where they differ."""
        steps = {
            name: self.training(Run(vlm, "none", variant, name, self.config.seeds[0])).steps
            for name in benchmarks
        }
        return next(iter(steps.values())) if len(set(steps.values())) == 1 else steps

    def vla_settings(self, wildcards: Any) -> str:
        benchmark = self.config.benchmarks[wildcards.benchmark]
        variant = self.config.variants[wildcards.variant]
        expert = self.config.experts.get(wildcards.vlm)
        return settings_json(
            VlaSettings(
                backbone=wildcards.vlm,
                auxiliary=wildcards.auxiliary,
                variant=wildcards.variant,
                benchmark=wildcards.benchmark,
                seed=int(wildcards.seed),
                freeze=variant.freeze,
                initial_weights=variant.initial_weights,
                chunk=(expert and expert.chunk) or benchmark.chunk,
                normalisation=benchmark.normalisation,
                shift=benchmark.shift,
                colour_jitter=benchmark.colour_jitter,
                augmentation=benchmark.augmentation,
                head=expert.head if expert else self.config.head,
                training=self.training(wildcards),
            )
        )

    def rollout_settings(self, wildcards: Any) -> str:
        evaluation = self.config.benchmarks[wildcards.benchmark].evaluation
        expert = self.config.experts.get(wildcards.vlm)
        tried = getattr(wildcards, "executed", "").removeprefix(EXECUTED)
        horizon = int(tried) if tried else (expert and expert.execution_horizon)
        own = {"execution_horizon": horizon} if horizon else {}
        evaluation = evaluation.model_copy(update={"executed": [], **own})
        return settings_json(
            RolloutSettings(
                extension=hash_of("benchmark", wildcards.benchmark),
                policy=wildcards.vlm if wildcards.vlm in REFERENCES else "vla",
                backbone=wildcards.vlm,
                auxiliary=wildcards.auxiliary,
                variant=wildcards.variant,
                benchmark=wildcards.benchmark,
                seed=int(wildcards.seed),
                evaluation=evaluation,
                image_size=self.config.image_size,
                study=self.config.study,
                scale=self.config.scale,
                shard=getattr(wildcards, "shard", None),
            )
        )

    def reference_settings(self, wildcards: Any) -> str:
        """Rollout settings of the floor or the ceiling: `wildcards.policy` on `wildcards.benchmark`."""
        return self.rollout_settings(Run(wildcards.policy, "none", "full", wildcards.benchmark, 0))

    def cell_settings(self, wildcards: Any) -> str:
        return settings_json(
            CellSettings(
                study=self.config.study,
                scale=self.config.scale,
                seeds=self.config.seeds,
                model=wildcards.vlm,
                auxiliary=wildcards.auxiliary,
                variant=wildcards.variant,
                benchmark=wildcards.benchmark,
                departures=departures(
                    self.config,
                    [wildcards.vlm],
                    [wildcards.benchmark],
                    auxiliary=wildcards.auxiliary != "none",
                ),
            )
        )

    def film_settings(self) -> str:
        cells = self.cells_of(self._film_table())
        models = [*cells.backbones, *cells.experts, *REFERENCES]
        return settings_json(
            FilmsSettings(scale=self.config.scale, benchmarks=cells.benchmarks, models=models)
        )

    def config_json(self, wildcards: Any = None) -> str:
        return settings_json(self.config)

    def _summary(self, expert: str, benchmarks: list[str]) -> ExpertSummary:
        own, counts = self.config.experts[expert], []
        for name in benchmarks:
            benchmark = self.config.benchmarks[name]
            horizon = own.execution_horizon or benchmark.evaluation.execution_horizon
            counts.append(f"{horizon} of {own.chunk or benchmark.chunk}")
        executed = counts[0] if len(set(counts)) == 1 else "/".join(counts)
        return ExpertSummary(
            backbone=own.backbone,
            steps=self._steps(expert, EXPERT_VARIANT, benchmarks),
            executed=f"{executed} predicted actions",
        )

    def table_settings(self, table: str) -> str:
        cells = self.cells_of(table)
        return settings_json(
            TableSettings(
                table=table,
                study=self.config.study,
                scale=self.config.scale,
                seeds=cells.seeds,
                cells=cells,
                vla_steps={
                    variant: self._steps(cells.backbones[0], variant, cells.benchmarks)
                    for variant in cells.variants
                },
                experts={name: self._summary(name, cells.benchmarks) for name in cells.experts},
                departures=departures(
                    self.config,
                    [*cells.backbones, *cells.experts],
                    cells.benchmarks,
                    auxiliary=any(task != "none" for _, task in self.vlms(table)),
                ),
                families={name: self.config.backbones[name].family for name in cells.backbones}
                if table == "correlation"
                else {},
                horizons={name: self.horizons(name) for name in cells.benchmarks}
                if table == "executed_steps"
                else {},
            )
        )
