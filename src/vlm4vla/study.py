"""The study as a table of runs: which VLAs and rollouts each table needs, and where every artefact lies.

The workflow's rules ask this module for their settings, inputs and targets. Methods that a rule calls take
Snakemake's wildcards, or a `Run`: anything with the attributes they read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from vlm4vla import capability_plan
from vlm4vla.artefacts import canonical_json
from vlm4vla.config import FINE_TUNED, AuxiliaryTask, Cells, Config, FastName
from vlm4vla.extensions import hash_of
from vlm4vla.published_study import outputs as published_study
from vlm4vla.report.entries import entry
from vlm4vla.report.outputs import CONFIG, SUMMARY, TABLES, film_outputs, outputs
from vlm4vla.settings import (
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
)
from vlm4vla.simulators.episodes import shards
from vlm4vla.training_settings import Training

REFERENCES = ("random", "expert")  # floor and ceiling: policies that no backbone stands behind
EXECUTED = "-executed"  # stands before another number of executed steps in a rollout's path
EXPERT_VARIANT = "full"  # expert VLAs are fully trained
FAST = get_args(FastName)  # FAST injection as a value of `auxiliary`
TARGETS = {
    "all_tables": TABLES,
    "table_main": ("main",),
    "table_freeze": ("freeze",),
    "table_scratch": ("scratch",),
    "table_auxiliary": ("auxiliary",),
    "table_fast_injection": ("fast_injection",),
    "table_executed_steps": ("executed_steps",),
    "correlation": ("correlation",),
}


@dataclass(frozen=True, order=True)
class Run:
    """One VLA (or reference policy) on one benchmark: the key of its training and of its rollouts.

    `executed`: empty, or `-executed` and how many steps of a chunk its rollouts execute in place of the
    benchmark's.
    """

    vlm: str
    auxiliary: str
    variant: str
    benchmark: str
    seed: int
    executed: str = ""

    @property
    def key(self) -> str:
        """The run's folder below `vla/`."""
        return f"{self.vlm}/{self.auxiliary}/{self.variant}/{self.benchmark}/seed{self.seed}"

    @property
    def rollouts(self) -> str:
        """The run's folder below `rollouts/`."""
        return self.key + self.executed


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
        """The product that `table` shows; `correlation` shows the cells of `main` without expert VLAs.

        Written out: `all` backbones, the list of auxiliaries of each backbone, the training seeds.
        """
        cells = self.config.tables["main" if table == "correlation" else table]
        backbones = list(self.config.backbones) if cells.backbones == ["all"] else cells.backbones
        given = cells.auxiliaries
        auxiliaries = {name: given[name] if isinstance(given, dict) else given for name in backbones}
        seeds = cells.seeds or self.config.seeds
        experts = [] if table == "correlation" else cells.experts
        written_out = {"backbones": backbones, "auxiliaries": auxiliaries, "seeds": seeds, "experts": experts}
        return cells.model_copy(update=written_out)

    def cells(self, table: str) -> list[Run]:
        """The VLAs that `table` holds, in its order."""
        cells = self.cells_of(table)
        return [
            Run(vlm, auxiliary, variant, benchmark, seed, executed)
            for benchmark in cells.benchmarks
            for vlm in cells.backbones
            for variant in cells.variants
            for auxiliary in cells.auxiliaries[vlm]
            for seed in cells.seeds
            for executed in (self.executed(benchmark) if table == "executed_steps" else [""])
        ] + self.experts(table)

    def horizons(self, benchmark: str) -> list[int]:
        """Executed steps of a chunk that are tried on `benchmark`: its own, then the others in order."""
        evaluation = self.config.benchmarks[benchmark].evaluation
        own = evaluation.execution_horizon
        return [own, *sorted(set(evaluation.executed) - {own})]

    def executed(self, benchmark: str) -> list[str]:
        """The same as parts of paths; a benchmark's own number has none."""
        return ["", *(f"{EXECUTED}{steps}" for steps in self.horizons(benchmark)[1:])]

    def experts(self, table: str) -> list[Run]:
        """The expert VLAs that `table` holds."""
        cells = self.cells_of(table)
        return [
            Run(expert, "none", EXPERT_VARIANT, benchmark, seed)
            for benchmark in cells.benchmarks
            for expert in cells.experts
            for seed in cells.seeds
        ]

    def vlms(self, table: str) -> list[tuple[str, str]]:
        """(backbone, auxiliary) of every VLM that `table` shows, each once, in its order."""
        cells = self.cells_of(table)
        return [(vlm, auxiliary) for vlm in cells.backbones for auxiliary in cells.auxiliaries[vlm]]

    def references(self, table: str) -> list[Run]:
        """Floor and ceiling of every benchmark of `table`; on real simulators no script can do the tasks."""
        return [
            Run(policy, "none", "full", benchmark, 0)
            for benchmark in self.cells_of(table).benchmarks
            for policy in (REFERENCES if self.is_embedded(benchmark) else REFERENCES[:1])
        ]

    # Real simulators -----------------------------------------------------------------------------

    def is_embedded(self, benchmark: str) -> bool:
        """Whether `benchmark` is evaluated here, not on a simulator through vla-eval."""
        return self.config.benchmarks[benchmark].evaluation.simulator is None

    def embedded_benchmarks(self) -> list[str]:
        return [name for name in self.config.benchmarks if self.is_embedded(name)]

    def simulator_benchmarks(self) -> list[str]:
        return [name for name in self.config.benchmarks if not self.is_embedded(name)]

    def is_served_by_others(self, run: Any) -> bool:
        """Whether a server of others answers for `run`, so that nothing is trained for it."""
        simulator = self.config.benchmarks[run.benchmark].evaluation.simulator
        return simulator is not None and run.vlm in simulator.policies

    def served_vla(self, wildcards: Any) -> list[str]:
        """The policy that an evaluation on a simulator serves, if it is one of ours."""
        if wildcards.vlm in REFERENCES or self.is_served_by_others(wildcards):
            return []
        return [self.vla_path(_run(wildcards))]

    def served_demonstrations(self, wildcards: Any) -> list[str]:
        """The demonstrations within whose bounds random actions stay."""
        return [self.demonstrations_path(wildcards.benchmark)] if wildcards.vlm in REFERENCES else []

    def served_options(self, wildcards: Any) -> list[str]:
        """Options of the command `rollout` for both."""
        named = (
            ("vla", self.served_vla(wildcards)),
            ("demonstrations", self.served_demonstrations(wildcards)),
        )
        return [
            word for name, paths in named for path in paths for word in (f"--{name}", str(Path(path).parent))
        ]

    def shard_paths(self, wildcards: Any) -> list[str]:
        """Episode tables of the parts of an evaluation on a simulator."""
        key = _run(wildcards).rollouts
        count = shards(self.config.benchmarks[wildcards.benchmark].evaluation)
        return [f"{self.root}/rollouts/{key}/shards/{n}/episodes.parquet" for n in range(count)]

    def shard_processes(self, wildcards: Any) -> int:
        """Simulators that a part's job runs."""
        simulator = self.config.benchmarks[wildcards.benchmark].evaluation.simulator
        return simulator.runs.processes if simulator else 1

    # Files ---------------------------------------------------------------------------------------

    def questions_path(self) -> str:
        return f"{self.root}/questions/provenance.json"

    def backbone_questions(self, wildcards: Any) -> list[str]:
        """What a tiny backbone is pre-trained on; a checkpoint has learnt already."""
        return [self.questions_path()] if self.config.backbones[wildcards.vlm].tiny else []

    def backbone_options(self, wildcards: Any) -> list[str]:
        """Options of the command `backbone` for that."""
        questions = self.backbone_questions(wildcards)
        return ["--questions", str(Path(questions[0]).parent)] if questions else []

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
        expert = self.config.experts.get(wildcards.vlm)
        vlm = expert.backbone if expert else wildcards.vlm
        if wildcards.auxiliary == "none":
            return self.backbone_path(vlm)
        return self.auxiliary_path(vlm, wildcards.auxiliary)

    def policies(self) -> list[str]:
        """What `vlm` may be in the path of a VLA: a backbone or an expert VLA."""
        return [*self.config.backbones, *self.config.experts]

    def auxiliaries(self) -> list[str]:
        """What `auxiliary` may be in a path: none, or a task of the configuration."""
        return self.config.auxiliaries()

    def demonstrations_path(self, benchmark: str) -> str:
        return f"{self.root}/demonstrations/{benchmark}/provenance.json"

    def vla_path(self, run: Run) -> str:
        return f"{self.root}/vla/{run.key}/provenance.json"

    def episodes_path(self, run: Run) -> str:
        return f"{self.root}/rollouts/{run.rollouts}/episodes.parquet"

    def table_files(self, table: str) -> list[str]:
        return [f"{self.root}/{name}" for name in outputs(table, self.cells_of(table).model_dump())]

    def table_words(self, table: str) -> str:
        """What the captions of Snakemake's report quote: written with the table, no result of its own."""
        return f"{self.root}/analysis/{table}.rst"

    def shown_files(self, table: str) -> list[str]:
        """Files of a table that Snakemake's report shows."""
        return [path for path in self.table_files(table) if path != self.table_words(table)]

    def target_of(self, table: str) -> str:
        """The target that makes `table` alone, and the name of its rule."""
        return next(name for name, tables in TARGETS.items() if tables == (table,))

    def published(self, table: str) -> str:
        """The paper's numbers that stand beside `table`."""
        name = {"scratch": "main", "executed_steps": "main", "auxiliary": "auxiliary_calvin"}.get(
            table, table
        )
        return f"workflow/published/{name}.csv"

    def published_beside(self, table: str) -> list[str]:
        """Further published numbers that `table` reads."""
        return ["workflow/published/main.csv"] if table == "correlation" else []

    def published_study(self) -> list[str]:
        """Files of the target `published`: the analysis of the paper's numbers alone."""
        return [f"{self.published_root}/{name}" for name in published_study.outputs()]

    @property
    def published_root(self) -> str:
        return f"{self.config.results}/{published_study.TARGET}"

    def published_sources(self) -> list[str]:
        return [f"workflow/published/{name}" for name in published_study.SOURCES]

    def published_scores(self) -> list[str]:
        """The user's question scores, if there are any."""
        return [self.config.published_scores] if self.config.published_scores else []

    def table_episodes(self, table: str) -> list[str]:
        """Episode tables that `table` is made of."""
        return [self.episodes_path(run) for run in (*self.cells(table), *self.references(table))]

    def table_capability(self, table: str) -> list[str]:
        """Capability scores that `table` is made of; beside a fine-tuned VLM's stands its backbone's."""
        return [self.capability_path(*v) for v in capability_plan.measured(self.config, self.scored(table))]

    def scored(self, table: str) -> list[tuple[str, str]]:
        """(backbone, auxiliary) of every VLM whose capability `table` shows."""
        bases = [(vlm, "none") for vlm in self.cells_of(table).backbones]
        if table in FINE_TUNED:
            return list(dict.fromkeys([*bases, *self.vlms(table)]))
        return bases if table == "correlation" else []

    def table_auxiliary(self, table: str) -> list[str]:
        """Fine-tuned VLMs of `table`: beside each lies its task's own score, before and after."""
        return [self.auxiliary_path(vlm, task) for vlm, task in self.vlms(table) if task != "none"]

    def table_fast(self, table: str) -> list[str]:
        """The FAST tokens that VLMs of `table` learnt to say: beside them lies a report on them."""
        said = any(task in FAST for _, task in self.vlms(table))
        return [self.auxiliary_data_path("fast")] if said and table == "fast_injection" else []

    def table_curves(self, table: str) -> list[str]:
        """VLAs whose training curves `table` draws."""
        if table != "main":
            return []
        experts = self.config.experts  # their losses are of other kinds
        return [self.vla_path(run) for run in self.cells(table) if run.vlm not in experts]

    # What stands beside the tables in the report ---------------------------------------------------

    def _film_table(self) -> str:
        """The table whose policies the report shows in films: the main one, else the first."""
        return "main" if "main" in self.config.tables else next(iter(self.config.tables))

    def film_files(self) -> list[str]:
        benchmarks = self.cells_of(self._film_table()).benchmarks
        return [f"{self.root}/{name}" for name in film_outputs(benchmarks)]

    def film_episodes(self) -> list[str]:
        """Episode tables beside which the films lie."""
        return self.table_episodes(self._film_table())

    def film_settings(self) -> str:
        cells = self.cells_of(self._film_table())
        models = [*cells.backbones, *cells.experts, *REFERENCES]
        return settings_json(
            FilmsSettings(scale=self.config.scale, benchmarks=cells.benchmarks, models=models)
        )

    def summary_files(self) -> list[str]:
        return [f"{self.root}/{name}" for name in SUMMARY]

    def analyses(self) -> list[str]:
        """The numbers behind every table."""
        return [f"{self.root}/analysis/{table}.json" for table in self.tables()]

    def config_files(self) -> list[str]:
        return [f"{self.root}/{name}" for name in CONFIG]

    def config_json(self, wildcards: Any = None) -> str:
        return settings_json(self.config)

    def entry(self, path: str) -> dict[str, Any]:
        """Where a file stands in Snakemake's report: the arguments of its `report()`."""
        return entry(str(Path(path).relative_to(self.root)))

    # One cell: `wildcards` are vlm, auxiliary, variant and benchmark -------------------------------

    def cell_episodes(self, wildcards: Any) -> list[str]:
        """Episode tables of a cell, one a training seed of the study."""
        key = (wildcards.vlm, wildcards.auxiliary, wildcards.variant, wildcards.benchmark)
        return [self.episodes_path(Run(*key, seed)) for seed in self.config.seeds]

    def cell_auxiliary(self, wildcards: Any) -> list[str]:
        """The fine-tuned backbone of a cell, where it has one of its own."""
        if wildcards.auxiliary == "none" or wildcards.vlm in self.config.experts:
            return []
        return [self.auxiliary_path(wildcards.vlm, wildcards.auxiliary)]

    def cell_capability(self, wildcards: Any) -> list[str]:
        """Capability before and after fine-tuning."""
        tuned = self.cell_auxiliary(wildcards)
        names = ("none", wildcards.auxiliary) if tuned else ()
        vlms = capability_plan.measured(self.config, [(wildcards.vlm, name) for name in names])
        return [self.capability_path(*vlm) for vlm in vlms]

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
            )
        )

    def targets(self, name: str) -> list[str]:
        """Files of a target: those of its tables that this configuration has; all tables have a summary,
        films and the configuration beside them."""
        here = [table for table in TARGETS[name] if table in self.tables()]
        files = [path for table in here for path in self.table_files(table)]
        if name == "all_tables":
            files += [*self.film_files(), *self.summary_files(), *self.config_files()]
        return files

    def needs_questions(self) -> bool:
        """Whether anything learns from, or is scored on, the generated questions."""
        tiny = any(backbone.tiny for backbone in self.config.backbones.values())
        return tiny or self.config.capability.source == "embedded"

    def declared(self) -> list[str]:
        """Every artefact of `all_tables`, the intermediate ones too, each once."""
        files = [self.questions_path()] if self.needs_questions() else []
        for table in self.tables():
            cells = self.cells_of(table)
            files += [self.backbone_path(vlm) for vlm in cells.backbones]
            files += [self.backbone_path(self.config.experts[name].backbone) for name in cells.experts]
            files += [self.demonstrations_path(benchmark) for benchmark in cells.benchmarks]
            for vlm, task in self.vlms(table):
                if task != "none":
                    data = self.auxiliary_data_path("fast" if task in FAST else task)
                    files += [data, self.auxiliary_path(vlm, task)]
            files += [self.vla_path(run) for run in self.cells(table) if not self.is_served_by_others(run)]
            files += [*self.table_episodes(table), *self.table_capability(table), *self.table_files(table)]
        files += [*self.film_files(), *self.summary_files(), *self.config_files()]
        return list(dict.fromkeys(files))

    # Settings: the JSON that a stage's command takes, and nothing that the stage does not depend on -
    # A user's own file is in the settings of the stages that meet it first; the others follow from them.

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

    @property
    def capability_rules(self) -> str:
        """The rules that make capability scores, by where these come from."""
        return capability_plan.RULES[self.config.capability.source]

    def lmms_eval_settings(self, wildcards: Any) -> str:
        vlm = (wildcards.vlm, wildcards.auxiliary)
        return settings_json(capability_plan.lmms_eval_settings(self.config, vlm))

    def lmms_eval_results(self, wildcards: Any) -> list[str]:
        """The result file that is read in place of a run, if there is one.

        One that is missing ends a run before its jobs (preflight); a dry run plans without it.
        """
        file = capability_plan.results_file(self.config, (wildcards.vlm, wildcards.auxiliary))
        path = Path(file).expanduser() if file is not None else None
        return [str(path)] if path is not None and path.exists() else []

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

    def training(self, run: Any) -> Training:
        """VLA training of `run`: the expert's own, the variant's, the benchmark's, or the study's."""
        expert = self.config.experts.get(run.vlm)
        if expert and expert.training:
            return expert.training
        training = self.config.variants[run.variant].training
        training = training or self.config.benchmarks[run.benchmark].training or self.config.vla
        rates = {} if expert else self.config.backbones[run.vlm].learning_rates
        if run.benchmark not in rates:
            return training
        optimiser = training.optimiser.model_copy(update={"learning_rate": rates[run.benchmark]})
        return training.model_copy(update={"optimiser": optimiser})

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
                families={name: self.config.backbones[name].family for name in cells.backbones}
                if table == "correlation"
                else {},
                horizons={name: self.horizons(name) for name in cells.benchmarks}
                if table == "executed_steps"
                else {},
            )
        )


def _run(wildcards: Any) -> Run:
    return Run(*(getattr(wildcards, field.name) for field in fields(Run)))
