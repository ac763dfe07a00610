"""Loading of the modules that a process works with, and what that costs."""

from __future__ import annotations

import gc
import importlib
import time
from types import ModuleType

TRAINING = ("vlm4vla.policies.policy", "vlm4vla.training.loop", "accelerate")
ANSWERING = ("vlm4vla.training.loop", "vlm4vla.backbones.loaded")
MODULES = {  # by stage: what brings torch and transformers, which a stage loads after its cheap checks
    "backbone": TRAINING,
    "auxiliary": TRAINING,
    "capability": ANSWERING,
    "vla": TRAINING,
    "rollout": ("vlm4vla.policies.policy",),
}
_spent = 0.0


def load(*names: str) -> list[ModuleType]:
    """Import modules while the garbage collector rests, and leave what they made out of all its later rounds.

    What an import makes stays until the process ends. Looking it through for garbage, again and again while
    it grows and once more at the end, took a third of what a job needs to start and to end.
    """
    global _spent
    begin, was_on = time.process_time(), gc.isenabled()
    gc.disable()
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
        _spent += time.process_time() - begin


def seconds() -> float:
    """CPU seconds that `load` has taken in this process."""
    return _spent
