"""The files of a study: the path of every artefact, and what each stage and each table reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.conventions.scales import REAL
from vlm4vla.conventions.tables import TABLES
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators.episodes import shard_count
from vlm4vla.study import capability as capability_plan
from vlm4vla.study.layout import ResultsLayout
from vlm4vla.study.other_studies import input_files
from vlm4vla.study.outputs import (
    CONFIG,
    NOTES,
    OTHER_SOURCES,
    PUBLISHED,
    PUBLISHED_SOURCES,
    SUMMARY,
    film_outputs,
    outputs,
    published_outputs,
)
from vlm4vla.study.runs import FAST, REFERENCES, TRANSFER, Run, Runs
from vlm4vla.study.stopping import reference_of


class StudyFiles(Runs):
    """The files of one configuration.

    `root`: the results folder of the study. `layout`, `models_layout` and `published_layout`: the paths in
    this folder, in that of the study that trains the policies, and in that of the paper's own numbers.
    """

    def __init__(self, config: Config):
        super().__init__(config)
        self.root = Path(config.results) / config.study
        self.layout = ResultsLayout(self.root)
        others = Path(config.results) / config.policies_of if config.policies_of else self.root
        self.models_layout = ResultsLayout(others)
        self.published_layout = ResultsLayout(f"{config.results}/{PUBLISHED}")

    # Paths of artefacts

    def questions_path(self) -> str:
        return self.models_layout.path("questions")

    def backbone_path(self, model: str) -> str:
        return self.models_layout.path("backbone", vlm=model)

    def capability_path(self, model: str, auxiliary: str = "none") -> str:
        return self.models_layout.path("capability", vlm=model, auxiliary=auxiliary)

    def auxiliary_data_path(self, task: str) -> str:
        """The training data of the auxiliary task `task`. Both forms of FAST injection share one dataset."""
        return self.models_layout.path("auxiliary_data", task="fast" if task in FAST else task)

    def auxiliary_path(self, model: str, task: str) -> str:
        return self.models_layout.path("auxiliary", vlm=model, task=task)

    def demonstrations_path(self, benchmark: str) -> str:
        return self.models_layout.path("demonstrations", benchmark=benchmark)

    def vla_path(self, run: Run) -> str:
        return self.models_layout.path("vla", **run.wildcards())

    def is_of_other_study(self, path: str) -> bool:
        """Whether the study that `policies_of` names makes `path`, so that no job of this study does."""
        other = self.models_layout
        return other.root != self.layout.root and other.parse(path) is not None

    def episodes_path(self, run: Run) -> str:
        return self.layout.path("rollout", **run.wildcards())

    def table_files(self, table: str) -> list[str]:
        return self._below_root(outputs(table, self.cells_of(table).auxiliaries))

    def table_caption(self, table: str) -> str:
        """The text that captions of Snakemake's report quote. The report does not list this file."""
        return self.layout.path("caption", table=table)

    def shown_files(self, table: str) -> list[str]:
        """The files of a table that Snakemake's report lists."""
        return [path for path in self.table_files(table) if path != self.table_caption(table)]

    def film_files(self) -> list[str]:
        return self._below_root(film_outputs(self.cells_of(self._film_table()).benchmarks))

    def summary_files(self) -> list[str]:
        return self._below_root(SUMMARY)

    def config_files(self) -> list[str]:
        return self._below_root(CONFIG)

    def published_study(self) -> list[str]:
        """The files of the target `published`: an analysis of the paper's numbers alone."""
        return [f"{self.published_layout.root}/{name}" for name in published_outputs()]

    def _below_root(self, names: Iterable[str]) -> list[str]:
        return [f"{self.root}/{name}" for name in names]

    # Inputs of the stages

    def backbone_questions(self, wildcards: Any) -> list[str]:
        """The questions that a tiny backbone is pre-trained on; a checkpoint needs none."""
        return [self.questions_path()] if self.config.backbones[wildcards.vlm].tiny else []

    def backbone_options(self, wildcards: Any) -> list[str]:
        """The options of the command `backbone` that name these questions."""
        questions = self.backbone_questions(wildcards)
        return ["--questions", str(Path(questions[0]).parent)] if questions else []

    def task_data_path(self, wildcards: Any) -> str:
        """The training data of the task `wildcards.task`."""
        return self.auxiliary_data_path(wildcards.task)

    def fast_demonstrations_path(self, wildcards: Any) -> str:
        return self.demonstrations_path(self.config.auxiliary.fast.benchmark)

    def vlm_path(self, wildcards: Any) -> str:
        """The Hugging Face folder of `wildcards.vlm` after the auxiliary task `wildcards.auxiliary`.

        For an expert VLA this is the folder of its backbone.
        """
        expert = self.config.experts.get(wildcards.vlm)
        model = expert.backbone if expert else wildcards.vlm
        if wildcards.auxiliary == "none":
            return self.backbone_path(model)
        return self.auxiliary_path(model, wildcards.auxiliary)

    def rolled_out_vla(self, wildcards: Any) -> str:
        """The VLA that is rolled out on an embedded benchmark."""
        return self.vla_path(Run.from_wildcards(wildcards))

    def served_vla(self, wildcards: Any) -> list[str]:
        """The VLA that an evaluation on a simulator serves; none if a policy of other authors acts."""
        run = Run.from_wildcards(wildcards)
        return [self.vla_path(run)] if self.is_trained(run) else []

    def served_demonstrations(self, wildcards: Any) -> list[str]:
        """The demonstrations whose action bounds limit random actions."""
        run = Run.from_wildcards(wildcards)
        return [self.demonstrations_path(run.benchmark)] if run.model == REFERENCES[0] else []

    def compared_episodes(self, wildcards: Any) -> list[str]:
        """The episode records that decide when a rollout stops; none for a rollout of all episodes."""
        reference = reference_of(self.config, Run.from_wildcards(wildcards))
        return [self.episodes_path(reference)] if reference else []

    def compared_options(self, wildcards: Any) -> list[str]:
        """The options of the command `rollout` for the folder of these records."""
        paths = self.compared_episodes(wildcards)
        return [word for path in paths for word in ("--against", str(Path(path).parent))]

    def served_options(self, wildcards: Any) -> list[str]:
        """The options of the command `rollout` for the VLA, the demonstrations and the compared records."""
        inputs = {
            "--vla": self.served_vla(wildcards),
            "--demonstrations": self.served_demonstrations(wildcards),
        }
        return [
            word
            for option, paths in inputs.items()
            for path in paths
            for word in (option, str(Path(path).parent))
        ] + self.compared_options(wildcards)

    def shard_paths(self, wildcards: Any) -> list[str]:
        """The episode records of each part of an evaluation on a simulator.

        A rollout that can stop early has no parts: one job runs its blocks one after another.
        """
        run = Run.from_wildcards(wildcards)
        if reference_of(self.config, run):
            return []
        count = shard_count(self.config.benchmarks[run.benchmark].evaluation)
        return [self.layout.path("shard", **run.wildcards(), shard=number) for number in range(count)]

    def shard_processes(self, wildcards: Any) -> int:
        """The number of simulators that the job of one part runs."""
        simulator = self.config.benchmarks[wildcards.benchmark].evaluation.simulator
        return simulator.runs.processes if simulator else 1

    def merging_processes(self, wildcards: Any) -> int:
        """The number of simulators of the job that joins all parts: none but in a rollout without parts."""
        return self.shard_processes(wildcards) if self.compared_episodes(wildcards) else 1

    def lmms_eval_results(self, wildcards: Any) -> list[str]:
        """The result file that replaces a run of lmms-eval, if the configuration names one.

        If the file is missing, a run stops before its jobs (preflight) and a dry run plans without the file.
        """
        file = capability_plan.results_file(self.config, (wildcards.vlm, wildcards.auxiliary))
        path = Path(file).expanduser() if file is not None else None
        return [str(path)] if path is not None and path.exists() else []

    # Inputs of the tables

    def table_episodes(self, table: str) -> list[str]:
        """The episode records that `table` reads."""
        return [self.episodes_path(run) for run in (*self.cells(table), *self.references(table))]

    def table_capability(self, table: str) -> list[str]:
        """The capability scores that `table` reads: for a fine-tuned VLM also the score of its backbone."""
        return [
            self.capability_path(*v) for v in capability_plan.scored_vlms(self.config, self.scored(table))
        ]

    def table_auxiliary(self, table: str) -> list[str]:
        """The fine-tuned VLMs of `table`. Their folders hold the score on the task before and after."""
        return [self.auxiliary_path(vlm, task) for vlm, task in self.vlms(table) if task != "none"]

    def table_fast(self, table: str) -> list[str]:
        """The FAST tokens that VLMs of `table` learnt to write. Their folder holds a report on the tokens."""
        learnt = any(task in FAST for _, task in self.vlms(table))
        return [self.auxiliary_data_path("fast")] if learnt and TABLES[table].fast_report else []

    def table_curves(self, table: str) -> list[str]:
        """The VLAs whose training curves `table` draws. Expert VLAs have losses of other kinds."""
        if not TABLES[table].training_curves:
            return []
        return [self.vla_path(run) for run in self.cells(table) if run.model not in self.config.experts]

    def table_carried(self, table: str) -> list[str]:
        """The numbers of the table transfer, if the caption of `table` quotes them."""
        quoted = self.carry_over(table) == "numbers"
        return [self.layout.path("analysis", table=TRANSFER)] if quoted else []

    def table_other_studies(self, table: str) -> list[str]:
        """The records of other studies that `table` reads.

        A study that cannot be read is left out here, and refused before a run starts (preflight).
        """
        found = []
        for text in self.config.transfer.records if TABLES[table].transfer else []:
            with contextlib.suppress(UserError):
                found += input_files(Path(text))
        return found

    def analyses(self) -> list[str]:
        """The numbers behind every table."""
        return [self.layout.path("analysis", table=table) for table in self.tables()]

    def film_episodes(self) -> list[str]:
        """The episode records whose folders hold the films."""
        return self.table_episodes(self._film_table())

    def cell_episodes(self, wildcards: Any) -> list[str]:
        """The episode records of a cell, one file for each training seed of the study."""
        cell = (wildcards.vlm, wildcards.auxiliary, wildcards.variant, wildcards.benchmark)
        return [self.episodes_path(Run(*cell, seed)) for seed in self.config.seeds]

    def cell_auxiliary(self, wildcards: Any) -> list[str]:
        """The fine-tuned backbone of a cell; none without an auxiliary task and for an expert VLA."""
        if wildcards.auxiliary == "none" or wildcards.vlm in self.config.experts:
            return []
        return [self.auxiliary_path(wildcards.vlm, wildcards.auxiliary)]

    def cell_capability(self, wildcards: Any) -> list[str]:
        """The capability scores of a cell's backbone before and after fine-tuning."""
        names = ("none", wildcards.auxiliary) if self.cell_auxiliary(wildcards) else ()
        vlms = capability_plan.scored_vlms(self.config, [(wildcards.vlm, name) for name in names])
        return [self.capability_path(*vlm) for vlm in vlms]

    # The paper's numbers

    def published_file(self, table: str) -> str:
        """The first file of the paper's numbers that `table` reads."""
        return f"workflow/published/{TABLES[table].published[0]}"

    def other_published_files(self, table: str) -> list[str]:
        """The other files of the paper's numbers that `table` reads.

        Notes on the numbers are shown at the scales of real models only.
        """
        notes = [NOTES] if self.config.scale in REAL else []
        return [f"workflow/published/{name}" for name in [*TABLES[table].published[1:], *notes]]

    def published_sources(self) -> list[str]:
        """The published numbers that the target `published` reads."""
        return [f"workflow/published/{name}" for name in (*PUBLISHED_SOURCES, *OTHER_SOURCES)]

    def published_scores(self) -> list[str]:
        """The user's question scores, if the configuration names a file."""
        return [self.config.published_scores] if self.config.published_scores else []
