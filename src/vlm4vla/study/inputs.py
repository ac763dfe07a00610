"""What each stage and each table of a study reads: the inputs of the workflow's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm4vla.evaluation.simulators.episodes import shards
from vlm4vla.study import capability as capability_plan
from vlm4vla.study import published_outputs as published_study
from vlm4vla.study.layout import ResultsLayout
from vlm4vla.study.runs import FAST, REFERENCES, Run


class StageInputs(ResultsLayout):
    """The inputs of one configuration's artefacts."""

    def backbone_questions(self, wildcards: Any) -> list[str]:
        """What a tiny backbone is pre-trained on; a checkpoint has learnt already."""
        return [self.questions_path()] if self.config.backbones[wildcards.vlm].tiny else []

    def backbone_options(self, wildcards: Any) -> list[str]:
        """Options of the command `backbone` for that."""
        questions = self.backbone_questions(wildcards)
        return ["--questions", str(Path(questions[0]).parent)] if questions else []

    def task_data_path(self, wildcards: Any) -> str:
        """What the task `wildcards.task` learns from; FAST injection has one set for both of its forms."""
        return self.auxiliary_data_path("fast" if wildcards.task in FAST else wildcards.task)

    def fast_demonstrations_path(self, wildcards: Any) -> str:
        return self.demonstrations_path(self.config.auxiliary.fast.benchmark)

    def vlm_path(self, wildcards: Any) -> str:
        """The Hugging Face folder that `wildcards.vlm` is after `wildcards.auxiliary`."""
        expert = self.config.experts.get(wildcards.vlm)
        vlm = expert.backbone if expert else wildcards.vlm
        if wildcards.auxiliary == "none":
            return self.backbone_path(vlm)
        return self.auxiliary_path(vlm, wildcards.auxiliary)

    def served_vla(self, wildcards: Any) -> list[str]:
        """The policy that an evaluation on a simulator serves, if it is one of ours."""
        if wildcards.vlm in REFERENCES or self.is_served_by_others(wildcards):
            return []
        return [self.vla_path(Run.of(wildcards))]

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
        key = Run.of(wildcards).rollouts
        count = shards(self.config.benchmarks[wildcards.benchmark].evaluation)
        return [f"{self.root}/rollouts/{key}/shards/{n}/episodes.parquet" for n in range(count)]

    def shard_processes(self, wildcards: Any) -> int:
        """Simulators that a part's job runs."""
        simulator = self.config.benchmarks[wildcards.benchmark].evaluation.simulator
        return simulator.runs.processes if simulator else 1

    def lmms_eval_results(self, wildcards: Any) -> list[str]:
        """The result file that is read in place of a run, if there is one.

        One that is missing ends a run before its jobs (preflight); a dry run plans without it.
        """
        file = capability_plan.results_file(self.config, (wildcards.vlm, wildcards.auxiliary))
        path = Path(file).expanduser() if file is not None else None
        return [str(path)] if path is not None and path.exists() else []

    def table_episodes(self, table: str) -> list[str]:
        """Episode tables that `table` is made of."""
        return [self.episodes_path(run) for run in (*self.cells(table), *self.references(table))]

    def table_capability(self, table: str) -> list[str]:
        """Capability scores that `table` is made of; beside a fine-tuned VLM's stands its backbone's."""
        return [self.capability_path(*v) for v in capability_plan.measured(self.config, self.scored(table))]

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

    def film_episodes(self) -> list[str]:
        """Episode tables beside which the films lie."""
        return self.table_episodes(self._film_table())

    def published(self, table: str) -> str:
        """The paper's numbers that stand beside `table`."""
        name = {"scratch": "main", "executed_steps": "main", "auxiliary": "auxiliary_calvin"}.get(
            table, table
        )
        return f"workflow/published/{name}.csv"

    def published_beside(self, table: str) -> list[str]:
        """Further published numbers that `table` reads."""
        return ["workflow/published/main.csv"] if table == "correlation" else []

    def published_sources(self) -> list[str]:
        return [f"workflow/published/{name}" for name in published_study.SOURCES]

    def published_scores(self) -> list[str]:
        """The user's question scores, if there are any."""
        return [self.config.published_scores] if self.config.published_scores else []

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
