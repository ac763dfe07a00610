"""Record demonstrations of our scripts on the real LIBERO simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.evaluation.simulators.demonstrations import Script, Scripted, open_adapter, record
from vlm4vla.evaluation.simulators.libero_script import TASKS, TaskScript


class Scene(dict[str, np.ndarray]):
    """An observation that also has NAME_pos (3,) of each site and body, such as a fixture."""

    def __init__(self, raw: Mapping[str, np.ndarray], simulator: Any):
        super().__init__(raw)
        self._simulator = simulator

    def __missing__(self, key: str) -> np.ndarray:
        return self._simulator.position(key.removesuffix("_pos"))


def _script(simulator: Any, described: dict[str, Any]) -> Script:
    script = TaskScript(TASKS[described["task_id"]])
    return lambda raw: script(Scene(raw, simulator))


LIBERO = Scripted(
    adapter="libero",
    title="LIBERO-10",
    robot="panda",
    fps=20,  # LIBERO's control rate
    states=("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "finger_left", "finger_right"),
    max_steps=520,
    tasks=tuple(TASKS),
    script=_script,
)


def open_simulator(*, render: str = "cpu", seed: int = 0, idle_steps: int = 10) -> Any:
    """Create the adapter that an evaluation uses. Raises UserError if LIBERO or vla-eval is not installed."""
    return open_adapter(
        LIBERO.adapter,
        "vlm4vla_libero:LiberoSimulator",
        render,
        suite=KNOWN[LIBERO.adapter].suite,
        seed=seed,
        env_seed=seed,
        num_steps_wait=idle_steps,
        quat_no_antipodal=True,
    )


def record_dataset(output: Path, **settings: Any) -> int:
    """Record demonstrations (`demonstrations.record`), and return the number of solved episodes."""
    return record(output, LIBERO, open_simulator, **settings)
