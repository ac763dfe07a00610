"""A user's own families, benchmarks and auxiliary tasks: everything that an extension file imports.

An extension file is a Python file that `extensions` in config.yaml names. It registers a class with one of
the three decorators, and imports whatever it builds on from here too:

    from vlm4vla.extensions import Adapter, family

    @family
    class Mine(Adapter): ...

The names in `EXPORTS` stay importable from this module wherever their own modules move.

A file runs because the configuration names it, and for no other reason: it is the user's own code and can do
anything that Python can. Reading a configuration runs its files, so an error in a file appears before any job
starts. A job finds the paths in the environment variable `core.registry.VARIABLE` and runs the files when it
meets a name that is not built in. The settings of a stage that depends on a file contain the file's SHA-256,
so a changed file reruns that stage.
"""

from __future__ import annotations

import importlib
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import C, register, require

EXPORTS: dict[str, str] = {
    # a family of backbones
    "Adapter": "vlm4vla.backbones.adapter",
    "BOS": "vlm4vla.backbones.tiny_tokenizer",
    "INSTRUCTION": "vlm4vla.backbones.adapter",
    "PATCH": "vlm4vla.backbones.tiny_sizes",
    "TINY_MEAN": "vlm4vla.backbones.adapter",
    "TINY_POSITIONS": "vlm4vla.backbones.tiny_sizes",
    "TINY_STD": "vlm4vla.backbones.adapter",
    "TinySize": "vlm4vla.config.backbones",
    # a benchmark
    "Articulate": "vlm4vla.benchmarks.skills",
    "Benchmark": "vlm4vla.benchmarks.base",
    "Camera": "vlm4vla.benchmarks.looks",
    "Episode": "vlm4vla.benchmarks.base",
    "Gripper": "vlm4vla.conventions.actions",
    "Layout": "vlm4vla.benchmarks.scene",
    "Lift": "vlm4vla.benchmarks.skills",
    "Look": "vlm4vla.benchmarks.looks",
    "Place": "vlm4vla.benchmarks.skills",
    "Press": "vlm4vla.benchmarks.skills",
    "Push": "vlm4vla.benchmarks.skills",
    "Rotate": "vlm4vla.benchmarks.skills",
    "Task": "vlm4vla.benchmarks.base",
    "jitter_camera": "vlm4vla.benchmarks.looks",
    "rng_for": "vlm4vla.core.seeding",
    "scatter": "vlm4vla.benchmarks.base",
    # an auxiliary task
    "AuxiliaryTask": "vlm4vla.auxiliary.tasks.base",
    "Picture": "vlm4vla.data.questions.statements",
    "scenes": "vlm4vla.auxiliary.tasks.pictures",
    "things": "vlm4vla.auxiliary.tasks.pictures",
}
__all__ = ["auxiliary_task", "benchmark", "family", *EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(EXPORTS[name]), name)  # some import torch: only when they are used


def family(adapter: C) -> C:
    """Class decorator: register an `Adapter` for the family `adapter.family`, a transformers `model_type`.

    Raises UserError for a class that cannot serve as one.
    """
    from vlm4vla.backbones.adapter import Adapter
    from vlm4vla.core.registry import FAMILIES

    require("family", adapter, Adapter, ("model_type", "family", "end", "phrases", "before_image"))
    if adapter.family != adapter.model_type:
        raise UserError(
            f"{adapter.__name__}.family: {adapter.family!r} is not the model_type "
            f"{adapter.model_type!r}: write `family = model_type = ...`"
        )
    return register("family", adapter.family, adapter, FAMILIES)


def benchmark(scene: C) -> C:
    """Class decorator: register a `Benchmark` under `scene.name`.

    Raises UserError for a class that cannot serve as one.
    """
    from vlm4vla.benchmarks.base import Benchmark
    from vlm4vla.conventions.benchmarks import BENCHMARKS, ONLY_REAL

    require("benchmark", scene, Benchmark, ("name", "position_unit", "rotation_unit", "speed", "turn"))
    if scene.gripper is None:
        raise UserError(
            f"{scene.__name__}.gripper: missing: write `gripper = Gripper(open=..., close=...)` and import "
            "Gripper from vlm4vla.extensions"
        )
    if not isinstance(scene.instructions_per_episode, int) or scene.instructions_per_episode < 1:
        raise UserError(
            f"{scene.__name__}.instructions_per_episode: {scene.instructions_per_episode!r}: write how many "
            "tasks each episode has, 1 or more"
        )
    # Rows of a table that concern no benchmark have one of the last two in its place.
    return register("benchmark", scene.name, scene, (*BENCHMARKS, *ONLY_REAL, "questions", "task"))


def auxiliary_task(task: C) -> C:
    """Class decorator: register an `AuxiliaryTask` under `task.name`.

    Raises UserError for a class that cannot serve as one.
    """
    from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
    from vlm4vla.auxiliary.tasks.fast_injection import NAMES
    from vlm4vla.core.registry import TASKS

    require("auxiliary task", task, AuxiliaryTask, ("name",))
    return register("auxiliary task", task.name, task, (*TASKS, *NAMES, "none", "fast"))
