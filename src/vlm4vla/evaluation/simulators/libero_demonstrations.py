"""Record demonstrations of the basket script on the real LIBERO simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm4vla.evaluation.simulators.demonstrations import Scripted, open_adapter, record
from vlm4vla.evaluation.simulators.episodes import SUITE
from vlm4vla.evaluation.simulators.libero_script import TASKS, BasketScript

LIBERO = Scripted(
    adapter="libero",
    title="LIBERO-10",
    robot="panda",
    fps=20,  # LIBERO's control rate
    states=("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "finger_left", "finger_right"),
    max_steps=520,
    tasks=tuple(TASKS),
    script=lambda described: BasketScript(TASKS[described["task_id"]]),
)


def open_simulator(*, render: str = "cpu", seed: int = 0, idle_steps: int = 10) -> Any:
    """Create the adapter that an evaluation uses. Raises UserError if LIBERO or vla-eval is not installed."""
    return open_adapter(
        LIBERO.adapter,
        "vlm4vla_libero:LiberoSimulator",
        render,
        suite=SUITE,
        seed=seed,
        env_seed=seed,
        num_steps_wait=idle_steps,
        quat_no_antipodal=True,
    )


def record_dataset(output: Path, **settings: Any) -> int:
    """Record demonstrations (`demonstrations.record`), and return the number of solved episodes."""
    return record(output, LIBERO, open_simulator, **settings)
