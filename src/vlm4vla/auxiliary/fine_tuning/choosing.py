"""How a backbone learns an auxiliary task: by answers in words, by drawing, or as the task itself says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.auxiliary.fine_tuning.base import Lesson
from vlm4vla.auxiliary.tasks.base import Task

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.config.stages import AuxiliarySettings


def lesson_of(task: Task, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone) -> Lesson:
    """The lesson of `task`. UserError for data that it cannot learn from."""
    own = task.lesson(settings, data, backbone)
    if own is not None:
        return own
    if task.dense:
        from vlm4vla.auxiliary.fine_tuning.generation import GenerationLesson  # imports diffusers

        return GenerationLesson(settings, data, backbone)
    from vlm4vla.auxiliary.fine_tuning.answers import AnswerLesson  # imports torch

    return AnswerLesson(task, settings, data, backbone)
