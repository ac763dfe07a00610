"""The `resources` of the rules. Profiles (workflow/profiles/) say where jobs get these resources.

The rules state memory and time for the embedded scale, with a margin; the profile `paper` replaces both. GPUs
and nodes follow from the configuration: a training gets one GPU per process, on every machine. Jobs of tiny
backbones request no GPU and no node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlm4vla.config.training import Training
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study

ONE_GPU = {"gpu": 1, "nodes": 1}


def scaled(amount: int) -> Callable[..., int]:
    """`amount` (MB or minutes) at the first attempt, twice `amount` at the second attempt, and so on.

    A job that was killed because it ran out of memory or time runs again with more of both.
    """

    def resource(wildcards: Any, attempt: int) -> int:
        return amount * attempt

    return resource


class JobResources:
    """GPUs and nodes of the jobs of each stage.

    Each method takes the name of a resource and returns its value as a function of Snakemake's wildcards, as
    a rule needs it. The value is None for a job that does not request the resource.

    The class must not be called `Resources`: in a Snakefile that name would replace Snakemake's own class
    (findings/snakefile-replaces-snakemakes-own-names.sh).
    """

    def __init__(self, study: Study):
        self._config = study.config
        self._training = study.training

    def for_vla(self, name: str) -> Callable[[Any], int | str | None]:
        """For the training of a VLA."""

        def resource(wildcards: Any) -> int | str | None:
            if not self._is_checkpoint(wildcards.vlm):
                return None
            return training_resources(self._training(Run.from_wildcards(wildcards))).get(name)

        return resource

    def for_auxiliary(self, name: str) -> Callable[[Any], int | str | None]:
        """For the fine-tuning on an auxiliary task, or the scoring of a task's own checkpoint on one GPU."""

        def resource(wildcards: Any) -> int | str | None:
            if not self._is_checkpoint(wildcards.vlm):
                return None
            auxiliary = self._config.auxiliary
            task = auxiliary.tasks.get(wildcards.task)
            if task is not None and task.checkpoint is not None:
                return ONE_GPU.get(name)
            source = task or auxiliary.fast
            return training_resources((source and source.training) or auxiliary.training).get(name)

        return resource

    def for_inference(self, name: str) -> Callable[[Any], int | str | None]:
        """For answers to questions and for rollouts: one GPU."""

        def resource(wildcards: Any) -> int | str | None:
            return ONE_GPU.get(name) if self._is_checkpoint(wildcards.vlm) else None

        return resource

    def _is_checkpoint(self, model: str) -> bool:
        """Whether a backbone, or the backbone of an expert VLA, is a checkpoint and not a tiny model."""
        expert = self._config.experts.get(model)
        return self._config.backbones[expert.backbone if expert else model].checkpoint is not None


def training_resources(training: Training) -> dict[str, int | str]:
    """The resources of a training on a checkpoint: one GPU for each of `execution.processes`.

    By default Slurm's plugin starts a job as a job step, which has only one node. For several nodes, `mpi`
    tells the plugin that the job starts its own steps. Such a job needs one task per node.
    """
    execution = getattr(training, "execution", None)
    gpus, nodes = getattr(execution, "processes", 1), getattr(execution, "nodes", 1)
    resources: dict[str, int | str] = {"gpu": gpus, "nodes": nodes}
    if nodes > 1:
        resources |= {"mpi": "srun", "tasks": nodes, "tasks_per_gpu": 0}
    return resources
