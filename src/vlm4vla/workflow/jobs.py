"""The jobs that a target needs, from the configuration alone: what Snakemake would run, without Snakemake.

`vlm4vla.study.study` knows every artefact's path and every stage's settings; here stands which job makes a
path and from which others. It says again what the rules' inputs say, and a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.study.published_outputs import TARGET as PUBLISHED
from vlm4vla.study.runs import REFERENCES, Run
from vlm4vla.study.study import TARGETS, Study
from vlm4vla.workflow.targets import check_target

NO_RULE = "no rule makes this file"


@dataclass(frozen=True)
class Job:
    """`stage`: questions, backbone, vla, ...; `key`: what it is of, in words of its paths; `output`: the file
    that stands for the job; `inputs`: those of the jobs before it; `settings`: the stage's, {} for tables and
    the report."""

    stage: str
    key: tuple[str, ...]
    output: str
    inputs: tuple[str, ...]
    settings: dict[str, Any]


def plan(study: Study, targets: Iterable[str] = ()) -> dict[str, Job]:
    """Every job of `targets` (names or paths; none: all_tables), by its output, inputs before users.

    Raises UserError for a target that no rule makes.
    """
    maker = Maker(study)
    wanted: list[str] = []
    for target in list(targets) or ["all_tables"]:
        check_target(study, target)
        if target == PUBLISHED:
            wanted += study.published_study()
        else:
            wanted += study.targets(target) if target in TARGETS else [target]
    jobs: dict[str, Job] = {}
    visited: set[str] = set()
    stack = [(path, False) for path in reversed(wanted)]
    while stack:
        path, expanded = stack.pop()
        if expanded:
            job = maker.job(path)
            jobs.setdefault(job.output, job)
        elif path not in visited:
            visited.add(path)
            stack.append((path, True))
            stack += [(each, False) for each in reversed(maker.job(path).inputs)]
    return jobs


class Maker:
    """Finds the job that makes a path."""

    def __init__(self, study: Study):
        self.study = study
        self._jobs: dict[str, Job] = {}
        self._several = self._of_several()

    def job(self, path: str) -> Job:
        """The job that makes `path`; its inputs are given as the outputs of their jobs."""
        if path not in self._jobs:
            job = self._several[path] if path in self._several else self._one(path)
            inputs = dict.fromkeys(self._representative(each) for each in job.inputs)
            self._jobs[path] = Job(job.stage, job.key, job.output, tuple(inputs), job.settings)
        return self._jobs[path]

    def _representative(self, path: str) -> str:
        return self._several[path].output if path in self._several else path

    def _of_several(self) -> dict[str, Job]:
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
            ]
            made.append((study.table_files(table), "table", (table,), inputs))
        return {
            path: Job(stage, key, files[0], tuple(inputs), {})
            for files, stage, key, inputs in made
            for path in files
        }

    def _one(self, path: str) -> Job:
        """The job of a path that stands alone: `root`/stage/key..."""
        study = self.study
        stage, *key = path.removeprefix(f"{study.root}/").split("/")
        try:
            settings, inputs = getattr(self, f"_{stage}")(*key)
        except (AttributeError, TypeError, ValueError, KeyError):
            raise UserError(f"target {path!r}: {NO_RULE}: write the path of an artefact") from None
        named = {"backbones": "backbone", "rollouts": "rollout", "cells": "cell"}.get(stage, stage)
        files = ("provenance.json", "episodes.parquet")
        words = tuple(word.removesuffix(".json") for word in key if word not in files)
        if stage == "cells":  # a cell's table in three formats is one job
            path = path.rsplit(".", 1)[0] + ".csv"
            words = (*words[:-1], words[-1].rsplit(".", 1)[0])
        return Job(named, words, path, tuple(inputs), json.loads(settings) if settings else {})

    def _questions(self, *_: str) -> tuple[str, list[str]]:
        return self.study.questions_settings(), []

    def _backbones(self, vlm: str, *_: str) -> tuple[str, list[str]]:
        wildcards = SimpleNamespace(vlm=vlm)
        return self.study.backbone_settings(wildcards), self.study.backbone_questions(wildcards)

    def _auxiliary_data(self, task: str, *_: str) -> tuple[str, list[str]]:
        wildcards = SimpleNamespace(task=task)
        if task == "fast":
            return self.study.fast_data_settings(wildcards), [self.study.fast_demonstrations_path(wildcards)]
        return self.study.auxiliary_data_settings(wildcards), []

    def _auxiliary(self, vlm: str, task: str, *_: str) -> tuple[str, list[str]]:
        wildcards = SimpleNamespace(vlm=vlm, task=task)
        inputs = [self.study.backbone_path(vlm), self.study.task_data_path(wildcards)]
        return self.study.auxiliary_settings(wildcards), inputs

    def _capability(self, vlm: str, name: str) -> tuple[str, list[str]]:
        wildcards = SimpleNamespace(vlm=vlm, auxiliary=name.removesuffix(".json"))
        source = self.study.config.capability.source
        if source == "scores":
            return self.study.scores_settings(wildcards), []
        inputs = [self.study.vlm_path(wildcards)]
        if source == "lmms-eval":
            return self.study.lmms_eval_settings(wildcards), inputs
        return self.study.capability_settings(wildcards), [*inputs, self.study.questions_path()]

    def _demonstrations(self, benchmark: str, *_: str) -> tuple[str, list[str]]:
        return self.study.demonstrations_settings(SimpleNamespace(benchmark=benchmark)), []

    def _vla(self, *key: str) -> tuple[str, list[str]]:
        run = _run(key)
        inputs = [self.study.vlm_path(run), self.study.demonstrations_path(run.benchmark)]
        return self.study.vla_settings(run), inputs

    def _rollouts(self, *key: str) -> tuple[str, list[str]]:
        study, run = self.study, _run(key)
        if study.is_embedded(run.benchmark):
            return study.rollout_settings(run), [] if run.vlm in REFERENCES else [study.vla_path(run)]
        inputs = study.served_vla(run) + study.served_demonstrations(run)
        if "shards" in key:
            part = SimpleNamespace(**vars(run), shard=int(key[key.index("shards") + 1]))
            return study.rollout_settings(part), inputs
        return study.rollout_settings(run), inputs + study.shard_paths(run)

    def _cells(self, vlm: str, auxiliary: str, variant: str, name: str) -> tuple[str, list[str]]:
        wildcards = SimpleNamespace(
            vlm=vlm, auxiliary=auxiliary, variant=variant, benchmark=name.rsplit(".", 1)[0]
        )
        study = self.study
        inputs = study.cell_episodes(wildcards) + study.cell_auxiliary(wildcards)
        return "", inputs + study.cell_capability(wildcards)


def _run(key: tuple[str, ...]) -> Run:
    vlm, auxiliary, variant, benchmark, words, *_ = key
    seed, dash, executed = words.removeprefix("seed").partition("-")
    return Run(vlm, auxiliary, variant, benchmark, int(seed), dash + executed)
