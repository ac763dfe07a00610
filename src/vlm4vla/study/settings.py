"""The settings of each stage: the JSON that its command takes, with everything that the stage depends on.

Settings hold nothing else, so that a change of the configuration reruns only the stages that it affects. The
hash of a user's extension file is part of the settings of the first stage that uses the extension. Later
stages rerun because their inputs change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlm4vla.config.auxiliary import TaskConfig
from vlm4vla.config.config import Config
from vlm4vla.config.reading import Reading
from vlm4vla.config.simulators import Simulator, SimulatorRuns
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
    TransferSources,
    VlaSettings,
    settings_json,
)
from vlm4vla.conventions.tables import TABLES
from vlm4vla.core.artefacts import canonical_json
from vlm4vla.core.registry import hash_of
from vlm4vla.study import capability as capability_plan
from vlm4vla.study.departures import departures
from vlm4vla.study.layout import EXECUTED
from vlm4vla.study.runs import EXPERT_VARIANT, FAST, REFERENCES, Run, Runs
from vlm4vla.study.stopping import reference_of


class StageSettings(Runs):
    """The settings of every stage of one configuration."""

    def __init__(self, config: Config):
        super().__init__(config)
        self._shared: dict[tuple[str, int | None, bool, bool], dict[str, Any]] = {}  # of _rollout_settings

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
                # the keys that only VLAs read are left out
                backbone=backbone.model_copy(update={"learning_rates": {}, "reading": Reading()}),
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
                public=auxiliary.tasks[wildcards.task].public_source(wildcards.task),
            )
        )

    def fast_data_settings(self, wildcards: Any) -> str:
        fast = self.config.auxiliary.fast.model_copy(update={"training": None})  # not used for the data
        if fast.tokenizer is not None:  # these keys are not used then, so a change reruns nothing
            fast = fast.model_copy(update={"vocabulary": None, "scale": None})
        benchmark = self.config.benchmarks[fast.benchmark]
        return settings_json(
            FastDataSettings(fast=fast, chunk=benchmark.chunk, normalisation=benchmark.normalisation)
        )

    def auxiliary_settings(self, wildcards: Any) -> str:
        auxiliary = self.config.auxiliary
        task = auxiliary.tasks.get(wildcards.task, TaskConfig())
        if wildcards.task in FAST:
            task = TaskConfig(training=auxiliary.fast.training)
        return settings_json(
            AuxiliarySettings(
                name=wildcards.vlm,
                task=wildcards.task,
                training=None if task.checkpoint else task.training or auxiliary.training,
                checkpoint=task.checkpoint,
                revision=task.revision if task.checkpoint else None,
                pixels=self.config.backbones[wildcards.vlm].pixels if task.checkpoint else None,
                decoder=task.decoder,
                questions=auxiliary.questions,
                image_size=self.config.image_size,
                seed=auxiliary.seed,
            )
        )

    def capability_settings(self, wildcards: Any = None) -> str:
        return settings_json(CapabilitySettings(capability=self.config.capability.embedded_only()))

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
                demonstrations=benchmark.demonstrations.without_unused_keys(),
                image_size=self.config.image_size,
                max_steps=None if benchmark.demonstrations.dataset else benchmark.evaluation.max_steps,
                simulator=self._recorded_simulator(wildcards.benchmark),
            )
        )

    def _recorded_simulator(self, benchmark: str) -> Simulator | None:
        """The real simulator whose own experts are recorded, with what the recording depends on."""
        if not self.has_own_experts(benchmark):
            return None
        simulator = self.config.benchmarks[benchmark].evaluation.simulator
        if simulator is None or self.config.benchmarks[benchmark].demonstrations.dataset is not None:
            return None
        runs = SimulatorRuns(environment=simulator.runs.environment)
        return simulator.model_copy(update={"runs": runs, "policies": {}, "first_state": 0})

    def _steps(self, model: str, variant: str, benchmarks: Iterable[str]) -> int | dict[str, int]:
        """The updates of a VLA training: one number, or one per benchmark if they differ."""
        steps = {
            name: self.training(Run(model, "none", variant, name, self.config.seeds[0])).steps
            for name in benchmarks
        }
        return next(iter(steps.values())) if len(set(steps.values())) == 1 else steps

    def vla_settings(self, wildcards: Any) -> str:
        run = Run.from_wildcards(wildcards)
        benchmark = self.config.benchmarks[run.benchmark]
        variant = self.config.variants[run.variant]
        expert = self.config.experts.get(run.model)
        return settings_json(
            VlaSettings(
                backbone=run.model,
                auxiliary=run.auxiliary,
                variant=run.variant,
                benchmark=run.benchmark,
                seed=run.seed,
                freeze=variant.freeze,
                initial_weights=variant.initial_weights,
                chunk=(expert and expert.chunk) or benchmark.chunk,
                normalisation=benchmark.normalisation,
                second_bounds=benchmark.second_bounds,
                first_episodes=benchmark.first_episodes,
                reading=(expert or self.config.backbones[run.model]).reading,
                shift=benchmark.shift,
                colour_jitter=benchmark.colour_jitter,
                augmentation=benchmark.augmentation,
                centre_crop=benchmark.evaluation.centre_crop,
                head=expert.head if expert else self.config.head,
                training=self.training(run),
            )
        )

    def rollout_settings(self, wildcards: Any) -> str:
        """`wildcards.shard`: the number of a part of an evaluation on a simulator."""
        run = Run.from_wildcards(wildcards)
        expert = self.config.experts.get(run.model)
        executed = run.executed.removeprefix(EXECUTED)
        released = self.released_policy(run)
        horizon = int(executed) if executed else (expert and expert.execution_horizon)
        if released is not None:
            horizon = released.execution_horizon
        cropped = self.is_trained(run)  # only the study's own policies crop their images
        stops = reference_of(self.config, run) is not None
        settings = self._rollout_settings(run.benchmark, horizon, cropped, stops) | {
            "policy": self._policy_kind(run),
            "backbone": run.model,
            "auxiliary": run.auxiliary,
            "variant": run.variant,
            "seed": run.seed,
        }
        if released is not None:
            settings["released"] = released.model_dump(mode="json")
        shard = getattr(wildcards, "shard", None)
        return canonical_json(settings if shard is None else settings | {"shard": int(shard)})

    def _policy_kind(self, run: Run) -> str:
        if run.model == "expert" and not self.is_embedded(run.benchmark):
            return "script"
        return run.model if run.model in REFERENCES else "vla"

    def _rollout_settings(
        self, benchmark: str, horizon: int | None, cropped: bool, stops: bool
    ) -> dict[str, Any]:
        """The settings of a rollout of any policy, as JSON's values. Thousands of rollouts share few of them.

        `horizon`: the number of executed steps that replaces the benchmark's. `cropped`: whether the policy
        crops its images. `stops`: whether the rollout can stop before all episodes.
        """
        key = (benchmark, horizon, cropped, stops)
        if key not in self._shared:
            changed: dict[str, Any] = {"execution_horizon": horizon} if horizon else {}
            if not cropped:
                changed["centre_crop"] = None
            if not stops:
                changed["stop"] = None
            evaluation = self.config.benchmarks[benchmark].evaluation
            settings = RolloutSettings(
                extension=hash_of("benchmark", benchmark),
                policy="vla",
                backbone="any",
                variant="any",
                benchmark=benchmark,
                seed=0,
                evaluation=evaluation.model_copy(update={"executed": [], **changed}),
                image_size=self.config.image_size,
                study=self.config.study,
                scale=self.config.scale,
            )
            self._shared[key] = settings.model_dump(mode="json")
        return self._shared[key]

    def rollout_arguments(self, wildcards: Any) -> str | list[str]:
        """The value of the option `--settings`, and the option for the records that can end the rollout.

        They are one parameter of the rule, so that rollouts without this option keep their shell command:
        Snakemake reruns the jobs of a rule whose command has changed.
        """
        compared = self.compared_options(wildcards)
        return [self.rollout_settings(wildcards), *compared] if compared else self.rollout_settings(wildcards)

    def reference_settings(self, wildcards: Any) -> str:
        """The rollout settings of the reference policy `wildcards.policy` on `wildcards.benchmark`."""
        return self.rollout_settings(Run(wildcards.policy, "none", "full", wildcards.benchmark, 0))

    def cell_settings(self, wildcards: Any) -> str:
        return settings_json(
            CellSettings(
                study=self.config.study,
                scale=self.config.scale,
                real=self.real_at_embedded([wildcards.benchmark]),
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
            FilmsSettings(
                scale=self.config.scale,
                real=self.real_at_embedded(cells.benchmarks),
                benchmarks=cells.benchmarks,
                models=models,
            )
        )

    def config_json(self, wildcards: Any = None) -> str:
        return settings_json(self.config)

    def _summary(self, expert: str, benchmarks: list[str]) -> ExpertSummary:
        settings, counts = self.config.experts[expert], []
        others = {name: self.config.benchmarks[name].released_policies.get(expert) for name in benchmarks}
        released = {name: policy.source for name, policy in others.items() if policy}
        trained = [name for name in benchmarks if name not in released]
        for name in trained:
            benchmark = self.config.benchmarks[name]
            horizon = settings.execution_horizon or benchmark.evaluation.execution_horizon
            counts.append(f"{horizon} of {settings.chunk or benchmark.chunk}")
        executed = counts[0] if len(set(counts)) == 1 else "/".join(counts)
        return ExpertSummary(
            backbone=settings.backbone,
            steps=self._steps(expert, EXPERT_VARIANT, trained or benchmarks),
            executed=f"{executed} predicted actions" if trained else "",
            released=released,
        )

    def table_settings(self, table: str) -> str:
        cells = self.cells_of(table)
        return settings_json(
            TableSettings(
                table=table,
                study=self.config.study,
                scale=self.config.scale,
                real=self.real_at_embedded(cells.benchmarks),
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
                if TABLES[table].families
                else {},
                horizons={name: self.horizons(name) for name in cells.benchmarks}
                if TABLES[table].horizons
                else {},
                analysis=self.config.analysis,
                transfer=TransferSources(
                    records=self.config.transfer.records,
                    experts=list(self.config.experts),
                )
                if TABLES[table].transfer
                else None,
                carry_over=self.carry_over(table),
            )
        )
