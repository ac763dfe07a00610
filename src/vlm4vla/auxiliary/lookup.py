"""Find an auxiliary task by its name, and the fine-tuning of a backbone on the task."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.core import registry
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.core.registry import TASKS

if TYPE_CHECKING:
    from vlm4vla.auxiliary.fine_tuning.base import FineTuning
    from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.config.stages import AuxiliarySettings


def get_task(name: str, data: Path | None = None) -> AuxiliaryTask:
    """Return the task called `name`. Raises UserError if no task has this name.

    `data` is the folder of the task's data. FAST injection needs it, and so does a task that learns from
    public datasets.
    """
    from vlm4vla.auxiliary.tasks.fast_injection import NAMES, FastInjection

    if name in NAMES and data is not None:
        return FastInjection(name, data)
    if name not in TASKS:
        own = registry.find("auxiliary task", name)
        if own is not None:
            return own()
        known = [*TASKS, *registry.names("auxiliary task")]
        raise UserError(f"auxiliary: unknown task {name!r}: {suggestion(name, known)}")
    module, attribute = TASKS[name].split(":")
    task = getattr(importlib.import_module(module), attribute)()
    if data is not None:
        from vlm4vla.auxiliary.public.task import PublicTask, is_public

        if is_public(data):
            return PublicTask(task.name)
    return task


def fine_tuning_for(
    task: AuxiliaryTask, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone
) -> FineTuning:
    """Return the fine-tuning of `backbone` on `task`. Raises UserError if the data cannot be used."""
    own = task.fine_tuning(settings, data, backbone)
    if own is not None:
        return own
    if task.dense:
        from vlm4vla.auxiliary.fine_tuning.generation import GenerationFineTuning  # imports diffusers

        return GenerationFineTuning(settings, data, backbone)
    from vlm4vla.auxiliary.fine_tuning.answers import AnswerFineTuning  # imports torch

    return AnswerFineTuning(task, settings, data, backbone)
