"""What a job asks for: the `resources` of the rules. Profiles (workflow/profiles/) say where it gets that.

Memory and time are those of the embedded scale, with room to spare; the profile `paper` replaces them.
GPUs and nodes follow from the configuration, so that a training gets one GPU a process, wherever it runs.
A tiny backbone needs none: its jobs ask for no such resource at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlm4vla.config.training import Training
from vlm4vla.study.study import Study

ONE = {"gpu": 1, "nodes": 1}


def scaled(amount: int) -> Callable[..., int]:
    """A resource of `amount` (MB or minutes) at the first attempt, twice that at the second, and so on.

    A job that was killed for want of memory or time is tried again with more of both.
    """

    def of_attempt(wildcards: Any, attempt: int) -> int:
        return amount * attempt

    return of_attempt


class Needs:
    """GPUs and nodes of each stage's jobs.

    Each method gives what a rule writes for a resource's name: a function of Snakemake's wildcards, whose
    value is None where a job asks for no such resource.
    """

    def __init__(self, study: Study):
        self._config = study.config
        self._training = study.training

    def of_vla(self, name: str) -> Callable[[Any], int | str | None]:
        """A training, of a backbone or an expert VLA."""

        def resource(wildcards: Any) -> int | str | None:
            if not self._is_real(wildcards.vlm):
                return None
            return of_training(self._training(wildcards)).get(name)

        return resource

    def of_auxiliary(self, name: str) -> Callable[[Any], int | str | None]:
        """A fine-tuning; a task's own checkpoint is scored only."""

        def resource(wildcards: Any) -> int | str | None:
            if not self._is_real(wildcards.vlm):
                return None
            auxiliary = self._config.auxiliary
            task = auxiliary.tasks.get(wildcards.task)
            if task is not None and task.checkpoint is not None:
                return ONE.get(name)
            own = task or auxiliary.fast
            return of_training((own and own.training) or auxiliary.training).get(name)

        return resource

    def of_inference(self, name: str) -> Callable[[Any], int | str | None]:
        """Answers, or episodes: one GPU."""

        def resource(wildcards: Any) -> int | str | None:
            return ONE.get(name) if self._is_real(wildcards.vlm) else None

        return resource

    def _is_real(self, vlm: str) -> bool:
        """Whether a backbone, or the one of an expert VLA, is a checkpoint and not built tiny."""
        expert = self._config.experts.get(vlm)
        return self._config.backbones[expert.backbone if expert else vlm].checkpoint is not None


def of_training(training: Training) -> dict[str, int | str]:
    """Resources of a training on a real backbone: one GPU for each of `execution.processes`.

    On several nodes Slurm's plugin must not start the job as a step of its own, which has one node only:
    `mpi` says that the job starts its own, and a task a node is what it needs.
    """
    execution = getattr(training, "execution", None)
    gpus, nodes = getattr(execution, "processes", 1), getattr(execution, "nodes", 1)
    asked: dict[str, int | str] = {"gpu": gpus, "nodes": nodes}
    if nodes > 1:
        asked |= {"mpi": "srun", "tasks": nodes, "tasks_per_gpu": 0}
    return asked
