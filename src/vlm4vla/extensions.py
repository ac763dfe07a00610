"""A user's own families, benchmarks and auxiliary tasks: Python files that the configuration names.

A file runs because `extensions` of config.yaml names it, and for no other reason: it is the user's own code,
with all that Python may do. It puts one of the decorators here above a class:

    from vlm4vla.extensions import family

    @family
    class Mine(Adapter): ...

Reading a configuration runs its files, so that their faults are told before any job. A job is told the files
by the environment variable `VARIABLE`, and runs them when it meets a name that is not built in. What depends
on a file has the file's SHA-256 among its settings, so that a changed file reruns it.
"""

from __future__ import annotations

from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import C, _register, _require

# What a file calls ------------------------------------------------------------------------------------


def family(adapter: C) -> C:
    """Class decorator: an `Adapter` (vlm4vla.backbones.adapter) that serves the family `adapter.family`,
    which is the transformers `model_type`. UserError for a class that cannot."""
    from vlm4vla.backbones.adapter import Adapter
    from vlm4vla.core.registry import FAMILIES

    _require("family", adapter, Adapter, ("model_type", "family", "end", "phrases", "before_image"))
    if adapter.family != adapter.model_type:
        raise UserError(
            f"{adapter.__name__}.family: {adapter.family!r} is not the model_type "
            f"{adapter.model_type!r}: write `family = model_type = ...`"
        )
    return _register("family", adapter.family, adapter, FAMILIES)


def benchmark(scene: C) -> C:
    """Class decorator: a `Benchmark` (vlm4vla.benchmarks.base) called `scene.name`. UserError for a class
    that cannot be one."""
    from vlm4vla.benchmarks.base import Benchmark
    from vlm4vla.conventions.benchmarks import BENCHMARKS

    _require("benchmark", scene, Benchmark, ("name", "position_unit", "rotation_unit", "speed", "turn"))
    if scene.gripper is None:
        raise UserError(
            f"{scene.__name__}.gripper: missing: write `gripper = Gripper(open=..., close=...)` of "
            "vlm4vla.conventions.actions"
        )
    # the last two stand in a table's rows where what is told is of no benchmark
    return _register("benchmark", scene.name, scene, (*BENCHMARKS, "questions", "task"))


def auxiliary_task(task: C) -> C:
    """Class decorator: a `Task` (vlm4vla.auxiliary.tasks.base) called `task.name`. UserError for a class that
    cannot be one."""
    from vlm4vla.auxiliary.tasks.base import Task
    from vlm4vla.auxiliary.tasks.fast_injection import NAMES
    from vlm4vla.core.registry import TASKS

    _require("auxiliary task", task, Task, ("name",))
    return _register("auxiliary task", task.name, task, (*TASKS, *NAMES, "none", "fast"))


# What the study calls ---------------------------------------------------------------------------------
