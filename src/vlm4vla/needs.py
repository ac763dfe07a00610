"""What a job asks for: the `resources` of the rules. Profiles (workflow/profiles/) say where it gets that.

Memory and time are those of the embedded scale, with room to spare; the profile `paper` replaces them.
GPUs and nodes follow from the configuration, so that a training gets one GPU a process, wherever it runs.
A tiny backbone needs none: its jobs ask for no such resource at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlm4vla.study import Study
from vlm4vla.training_settings import Training


def scaled(amount: int) -> Callable[..., int]:
    """A resource of `amount` (MB or minutes) at the first attempt, twice that at the second, and so on.

    A job that was killed for want of memory or time is tried again with more of both.
    """

    def of_attempt(wildcards: Any, attempt: int) -> int:
        return amount * attempt

    return of_attempt


class Needs:
    """GPUs and nodes of each stage's jobs, None where no such resource is asked for.

    The methods take Snakemake's wildcards.
    """

    def __init__(self, study: Study):
        self._config = study.config
        self._training = study.training

    def vla_gpus(self, wildcards: Any) -> int | None:
        training = self._vla(wildcards)
        return training and of_execution(training, "processes")

    def vla_nodes(self, wildcards: Any) -> int | None:
        training = self._vla(wildcards)
        return training and of_execution(training, "nodes")

    def auxiliary_gpus(self, wildcards: Any) -> int | None:
        """A task's checkpoint is scored only, by one process."""
        if not self._is_real(wildcards.vlm):
            return None
        training = self._auxiliary(wildcards)
        return of_execution(training, "processes") if training else 1

    def auxiliary_nodes(self, wildcards: Any) -> int | None:
        if not self._is_real(wildcards.vlm):
            return None
        training = self._auxiliary(wildcards)
        return of_execution(training, "nodes") if training else 1

    def capability_gpus(self, wildcards: Any) -> int | None:
        return 1 if self._is_real(wildcards.vlm) else None

    def rollout_gpus(self, wildcards: Any) -> int | None:
        return 1 if self._is_real(wildcards.vlm) else None

    def _vla(self, wildcards: Any) -> Training | None:
        """The training of a policy on a real backbone."""
        if not self._is_real(wildcards.vlm):
            return None
        expert = self._config.experts.get(wildcards.vlm)
        return (expert and expert.training) or self._training(wildcards.variant)

    def _auxiliary(self, wildcards: Any) -> Training | None:
        """The fine-tuning on a task, where there is one."""
        auxiliary = self._config.auxiliary
        task = auxiliary.tasks.get(wildcards.task)
        if task is not None and task.checkpoint is not None:
            return None
        own = task or auxiliary.fast
        return (own and own.training) or auxiliary.training

    def _is_real(self, vlm: str) -> bool:
        """Whether a backbone, or the one of an expert VLA, is a checkpoint and not built tiny."""
        expert = self._config.experts.get(vlm)
        return self._config.backbones[expert.backbone if expert else vlm].checkpoint is not None


def of_execution(training: Training, key: str) -> int:
    """`processes` or `nodes` of a training; one without its key `execution`."""
    execution = getattr(training, "execution", None)
    return getattr(execution, key, None) or 1
