"""Import of the heavy modules that a stage works with, and the CPU time that the import takes."""

from __future__ import annotations

import gc
import importlib
import time
from types import ModuleType

_LOSSES = "vlm4vla.backbones.without_scipy"  # before any module that imports a model
TRAINING = (_LOSSES, "vlm4vla.policies.policy", "vlm4vla.training.loop", "accelerate")
ANSWERING = (_LOSSES, "vlm4vla.training.loop", "vlm4vla.backbones.loaded")
# By stage: the modules that bring torch and transformers. A stage loads them after its cheap checks.
MODULES = {
    "backbone": TRAINING,
    "auxiliary": TRAINING,
    "capability": ANSWERING,
    "vla": TRAINING,
    "rollout": (_LOSSES, "vlm4vla.policies.policy"),
}
_spent = 0.0
_forked = False


def load(*names: str) -> list[ModuleType]:
    """Import modules with the garbage collector paused, and exempt their objects from later collections.

    Objects made by an import live until the process ends. Searching them for garbage, again and again during
    the import and once more at exit, took a third of a job's time to start and end.
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
    """CPU seconds that `load` has taken so far in this process."""
    return _spent


def forget() -> None:
    """Count from zero: this process is a new one, which a process with imported modules has forked."""
    global _spent, _forked
    _spent, _forked = 0.0, True


def were_inherited() -> bool:
    """Whether this process was forked by a process that had imported the modules."""
    return _forked
