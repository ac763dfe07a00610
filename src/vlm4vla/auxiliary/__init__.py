"""Auxiliary tasks: what a backbone may be fine-tuned on before it becomes a policy; one module a task, or a
file of the user's own (vlm4vla.extensions)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla import extensions
from vlm4vla.artefacts import UserError

if TYPE_CHECKING:
    from vlm4vla.auxiliary.task import Task

# Names as in figure 4 of arXiv 2601.03309.
TASKS: dict[str, str] = {
    "robopoint": "vlm4vla.auxiliary.robopoint:RoboPoint",
    "vica-332k": "vlm4vla.auxiliary.vica:Vica",
    "bridgevqa": "vlm4vla.auxiliary.bridgevqa:BridgeVqa",
    "robo2vlm": "vlm4vla.auxiliary.robo2vlm:Robo2Vlm",
    "robobrain2": "vlm4vla.auxiliary.robobrain:RoboBrain",
    "vqa-mix": "vlm4vla.auxiliary.vqa_mix:VqaMix",
    "omni-generation": "vlm4vla.auxiliary.omni_generation:OmniGeneration",
}


def get_task(name: str, data: Path | None = None) -> Task:
    """The task called `name`. FAST injection, and a task whose `data` was made of public sets, needs the
    folder of its data. UserError for an unknown one."""
    from vlm4vla.auxiliary.injection import NAMES, FastInjection

    if name in NAMES and data is not None:
        return FastInjection(name, data)
    if name not in TASKS:
        own = extensions.find("auxiliary task", name)
        if own is not None:
            return own()
        from vlm4vla.nearest import nearest

        known = [*TASKS, *extensions.names("auxiliary task")]
        raise UserError(f"auxiliary: unknown task {name!r}: {nearest(name, known)}")
    module, attribute = TASKS[name].split(":")
    task = getattr(importlib.import_module(module), attribute)()
    if data is not None:
        from vlm4vla.auxiliary.public.task import PublicTask, is_public

        if is_public(data):
            return PublicTask(task.name)
    return task
