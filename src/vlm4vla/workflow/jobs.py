"""The jobs that a target needs, from the configuration alone: the jobs that Snakemake would run.

`vlm4vla.study.layout` has the path of every artefact, and `vlm4vla.study.study` the settings of every stage.
This module knows which job makes a path and which inputs the job has. It repeats the inputs of the rules, and
a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.study.layout import fill
from vlm4vla.study.outputs import PUBLISHED
from vlm4vla.study.study import Study, table_targets
from vlm4vla.workflow.targets import check_target

# What writes the settings of a job, and the paths that the job needs
Made = tuple[Callable[[], str] | None, list[str]]


@dataclass(frozen=True)
class Job:
    """One job.

    `stage`: questions, backbone, vla, ... `key`: the names in the path of its output, which identify the job
    within its stage. `output`: the path of the job's (first) file. `inputs`: the outputs of the jobs that it
    needs. `others`: the artefacts of the study `policies_of` that it needs. `write_settings`: writes the JSON
    of the settings of the stage; None for tables and the report. `wildcards`: the values of the wildcards in
    the output's path.
    """

    stage: str
    key: tuple[str, ...]
    output: str
    inputs: tuple[str, ...]
    write_settings: Callable[[], str] | None = field(default=None, compare=False, repr=False)
    wildcards: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the stage; {} for tables and the report. A plan of thousands of jobs needs few."""
        return json.loads(self.write_settings()) if self.write_settings is not None else {}


def plan(study: Study, targets: Iterable[str] = ()) -> dict[str, Job]:
    """Every job of `targets` by its output; a job comes after the jobs of its inputs.

    `targets`: names or paths; without any, all_tables. Raises UserError for a target that no rule makes.
    """
    index = JobIndex(study)
    wanted: list[str] = []
    for target in list(targets) or ["all_tables"]:
        check_target(study, target)
        if target == PUBLISHED:
            wanted += study.published_study()
        else:
            wanted += study.targets(target) if target in table_targets() else [target]
    jobs: dict[str, Job] = {}
    visited: set[str] = set()
    stack = [(path, False) for path in reversed(wanted)]
    while stack:
        path, expanded = stack.pop()
        if expanded:
            job = index.job(path)
            jobs.setdefault(job.output, job)
        elif path not in visited:
            visited.add(path)
            stack.append((path, True))
            stack += [(each, False) for each in reversed(index.job(path).inputs)]
    return jobs


class JobIndex:
    """The jobs of a study by the paths that they make."""

    def __init__(self, study: Study):
        self.study = study
        self._jobs: dict[str, Job] = {}
        self._by_file = self._jobs_with_several_files()
        # Settings and inputs of the job that makes an artefact, from the wildcards in its path
        self._makers: dict[str, Callable[[Any], Made]] = {
            "questions": self._questions,
            "backbone": self._backbone,
            "auxiliary_data": self._auxiliary_data,
            "auxiliary": self._auxiliary,
            "capability": self._capability,
            "demonstrations": self._demonstrations,
            "vla": self._vla,
            "rollout": self._rollout,
            "shard": self._shard,
            "cell": self._cell,
        }

    def job(self, path: str) -> Job:
        """The job that makes `path`. Raises UserError for a path that no rule makes."""
        if path not in self._jobs:
            job = self._by_file[path] if path in self._by_file else self._job_with_one_file(path)
            inputs = dict.fromkeys(self._first_file(each) for each in job.inputs)
            others = [each for each in inputs if self.study.is_of_other_study(each)]
            own = tuple(each for each in inputs if each not in others)
            self._jobs[path] = replace(job, inputs=own, others=tuple(others))
        return self._jobs[path]

    def settings_of_other(self, path: str) -> dict[str, Any]:
        """The settings that this study has for an artefact of the study `policies_of`."""
        artefact, wildcards = self.study.models_layout.parse(path) or (None, {})
        if artefact is None:
            raise UserError(f"{path}: no artefact of the study policies_of: write another path")
        write, _ = self._makers[artefact.name](SimpleNamespace(**wildcards))
        return json.loads(write()) if write is not None else {}

    def _first_file(self, path: str) -> str:
        """The file that stands for the job of `path` if the job makes several files."""
        return self._by_file[path].output if path in self._by_file else path

    def _jobs_with_several_files(self) -> dict[str, Job]:
        """Jobs that make more than one file, by each file."""
        study = self.study
        made: list[tuple[list[str], str, tuple[str, ...], list[str]]] = [
            (study.film_files(), "report", ("films",), study.film_episodes()),
            (study.summary_files(), "report", ("summary",), study.analyses()),
            (study.config_files(), "report", ("study-config",), []),
            (study.published_study(), "published", (), []),
        ]
        for table in study.tables():
            inputs = [
                *study.table_episodes(table),
                *study.table_capability(table),
                *study.table_curves(table),
                *study.table_auxiliary(table),
                *study.table_fast(table),
                *study.table_carried(table),
            ]
            made.append((study.table_files(table), "table", (table,), inputs))
        return {
            path: Job(stage, key, files[0], tuple(inputs))
            for files, stage, key, inputs in made
            for path in files
        }

    def _job_with_one_file(self, path: str) -> Job:
        found = self.study.layout.parse(path)
        if found is None or found[0].name not in self._makers:
            raise UserError(f"target {path!r}: no rule makes this file: write the path of an artefact")
        artefact, wildcards = found
        settings, inputs = self._makers[artefact.name](SimpleNamespace(**wildcards))
        if artefact.name == "cell":  # one job makes the table in all formats
            path = self.study.layout.path("cell", **wildcards | {"format": "csv"})
        return Job(
            "rollout" if artefact.name == "shard" else artefact.name,
            tuple(fill(artefact.stem, wildcards).split("/")[1:]),
            path,
            tuple(inputs),
            settings,
            wildcards,
        )

    def _questions(self, wildcards: Any) -> Made:
        return self.study.questions_settings, []

    def _backbone(self, wildcards: Any) -> Made:
        return partial(self.study.backbone_settings, wildcards), self.study.backbone_questions(wildcards)

    def _auxiliary_data(self, wildcards: Any) -> Made:
        if wildcards.task == "fast":
            inputs = [self.study.fast_demonstrations_path(wildcards)]
            return partial(self.study.fast_data_settings, wildcards), inputs
        return partial(self.study.auxiliary_data_settings, wildcards), []

    def _auxiliary(self, wildcards: Any) -> Made:
        inputs = [self.study.backbone_path(wildcards.vlm), self.study.task_data_path(wildcards)]
        return partial(self.study.auxiliary_settings, wildcards), inputs

    def _capability(self, wildcards: Any) -> Made:
        source = self.study.config.capability.source
        if source == "scores":
            return partial(self.study.scores_settings, wildcards), []
        inputs = [self.study.vlm_path(wildcards)]
        if source == "lmms-eval":
            return partial(self.study.lmms_eval_settings, wildcards), inputs
        return partial(self.study.capability_settings, wildcards), [*inputs, self.study.questions_path()]

    def _demonstrations(self, wildcards: Any) -> Made:
        return partial(self.study.demonstrations_settings, wildcards), []

    def _vla(self, wildcards: Any) -> Made:
        inputs = [self.study.vlm_path(wildcards), self.study.demonstrations_path(wildcards.benchmark)]
        return partial(self.study.vla_settings, wildcards), inputs

    def _rollout(self, wildcards: Any) -> Made:
        study = self.study
        if not study.is_embedded(wildcards.benchmark):
            settings, inputs = self._shard(wildcards)
            inputs += study.shard_paths(wildcards)
            return settings, inputs + study.compared_episodes(wildcards)
        inputs = study.served_vla(wildcards)
        return partial(study.rollout_settings, wildcards), inputs + study.compared_episodes(wildcards)

    def _shard(self, wildcards: Any) -> Made:
        inputs = self.study.served_vla(wildcards) + self.study.served_demonstrations(wildcards)
        return partial(self.study.rollout_settings, wildcards), inputs

    def _cell(self, wildcards: Any) -> Made:
        study = self.study
        inputs = study.cell_episodes(wildcards) + study.cell_auxiliary(wildcards)
        return None, inputs + study.cell_capability(wildcards)
