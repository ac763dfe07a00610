"""From an auxiliary task's name to the task."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.core import registry
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import TASKS

if TYPE_CHECKING:
    from vlm4vla.auxiliary.tasks.base import Task


def get_task(name: str, data: Path | None = None) -> Task:
    """The task called `name`. FAST injection, and a task whose `data` was made of public sets, needs the
    folder of its data. UserError for an unknown one."""
    from vlm4vla.auxiliary.tasks.fast_injection import NAMES, FastInjection

    if name in NAMES and data is not None:
        return FastInjection(name, data)
    if name not in TASKS:
        own = registry.find("auxiliary task", name)
        if own is not None:
            return own()
        from vlm4vla.core.errors import nearest

        known = [*TASKS, *registry.names("auxiliary task")]
        raise UserError(f"auxiliary: unknown task {name!r}: {nearest(name, known)}")
    module, attribute = TASKS[name].split(":")
    task = getattr(importlib.import_module(module), attribute)()
    if data is not None:
        from vlm4vla.auxiliary.public.task import PublicTask, is_public

        if is_public(data):
            return PublicTask(task.name)
    return task
