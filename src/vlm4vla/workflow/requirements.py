"""What a run needs from outside the workflow, by its targets: datasets, question scores, simulators and GPUs.

The checks before a run look only for these. A cell on LIBERO-10 runs without the demonstrations of CALVIN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from vlm4vla.config.auxiliary import FastName
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.units import backbone_of
from vlm4vla.workflow.jobs import Job, plan
from vlm4vla.workflow.resources import JobResources

FROZEN_FAST: FastName = "fast-freeze-vision"


@dataclass(frozen=True)
class Requirements:
    """What the jobs of a run need.

    `backbones`: the backbones' names. `demonstrations` and `rollouts`: the benchmarks whose demonstrations
    are read, and whose simulators run. `sets`: the auxiliary tasks whose datasets are read. `capability`: the
    (backbone, auxiliary task) pairs whose question scores are read. `correlation`: whether the run makes the
    table of this name, which needs a score of every backbone. `gpus`: the number of GPUs of the largest
    training. `trackers`: the trackers that receive the curves of trainings. `packed`: the backbones whose
    trainings ask for attention without padding. `frozen`: the (backbone, training) pairs whose training
    freezes the vision encoder, by the names of the backbone and of the variant or auxiliary task.
    """

    backbones: frozenset[str]
    demonstrations: frozenset[str]
    rollouts: frozenset[str]
    sets: frozenset[str]
    capability: tuple[tuple[str, str], ...]
    correlation: bool
    gpus: int
    trackers: frozenset[str]
    packed: frozenset[str]
    frozen: frozenset[tuple[str, str]]


def requirements_of(study: Study, targets: Iterable[str] = ()) -> Requirements:
    """The requirements of `targets`: names or paths; without any, all_tables.

    Raises UserError for a target that no rule makes.
    """
    return _requirements(study, tuple(targets))


@lru_cache(maxsize=1)  # the checks of one run ask twice
def _requirements(study: Study, targets: tuple[str, ...]) -> Requirements:
    jobs = plan(study, targets).values()

    def values(stage: str, wildcard: str) -> frozenset[str]:
        return frozenset(job.wildcards[wildcard] for job in jobs if job.stage == stage)

    return Requirements(
        backbones=values("backbone", "vlm"),
        demonstrations=values("demonstrations", "benchmark"),
        rollouts=values("rollout", "benchmark"),
        sets=values("auxiliary_data", "task") - {"fast"},
        capability=tuple(
            (job.wildcards["vlm"], job.wildcards["auxiliary"]) for job in jobs if job.stage == "capability"
        ),
        correlation=any(job.stage == "table" and job.key == ("correlation",) for job in jobs),
        gpus=_most_gpus(study, jobs),
        trackers=frozenset(name for job in jobs if job.stage != "rollout" for name in _trackers(job)),
        packed=frozenset(_packed(study, jobs)),
        frozen=frozenset(_frozen(study, jobs)),
    )


def _execution(job: Job) -> dict[str, Any]:
    """How a training is executed; empty for other jobs and for trainings without this key."""
    return (job.settings.get("training") or {}).get("execution") or {}


def _trackers(job: Job) -> list[str]:
    """The trackers of a training; none for other jobs."""
    return list(_execution(job).get("trackers", ()))


def _asks_for_packing(job: Job) -> bool:
    return job.stage in ("vla", "auxiliary") and _execution(job).get("attention") == "flash_attention_2"


def _packed(study: Study, jobs: Iterable[Job]) -> Iterator[str]:
    for job in jobs:
        name = backbone_of(job, study.config)
        if name is not None and _asks_for_packing(job):
            yield name


def _frozen(study: Study, jobs: Iterable[Job]) -> Iterator[tuple[str, str]]:
    for job in jobs:
        name = backbone_of(job, study.config)
        if name is None:
            continue
        if job.stage == "vla" and job.settings["freeze"] == "vision":
            yield name, job.settings["variant"]
        elif job.stage == "auxiliary" and job.settings["task"] == FROZEN_FAST:
            yield name, FROZEN_FAST


def _most_gpus(study: Study, jobs: Iterable[Job]) -> int:
    """The number of GPUs of the largest training among `jobs`; 0 if all backbones are tiny."""
    resources = JobResources(study)
    gpus = {"vla": resources.for_vla("gpu"), "auxiliary": resources.for_auxiliary("gpu")}
    trainings = [job for job in jobs if job.stage in gpus]
    return max((gpus[job.stage](SimpleNamespace(**job.wildcards)) or 0 for job in trainings), default=0)
