"""Scripted demonstrations on the real LIBERO simulator, as a LeRobot data set.

Recorded through the same class that vla-eval drives in an evaluation: the same idle steps, the same pictures,
the same fingers. Every frame says from which of the benchmark's initial states its episode began, so that
recorded actions can be played again (`vlm4vla.evaluation.simulators.served.Replay`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.artefacts import Provenance, file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators.check import MADE_BY
from vlm4vla.evaluation.simulators.episodes import SUITE
from vlm4vla.evaluation.simulators.harness import INSIDE
from vlm4vla.evaluation.simulators.libero_script import TASKS, Script
from vlm4vla.evaluation.simulators.pictures import fitted
from vlm4vla.evaluation.simulators.served import INITIAL_STATE

CAMERA = "agentview"
FPS = 20  # LIBERO's control rate
STATES = ("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "finger_left", "finger_right")
DRAWN = 128  # pixels at which a picture is drawn before it is fitted


@dataclass
class Recording:
    """One solved episode: pictures (T, size, size, 3) uint8, states (T, 8), actions (T, 7) float32."""

    instruction: str
    pictures: np.ndarray
    states: np.ndarray
    actions: np.ndarray


def open_simulator(*, render: str = "cpu", seed: int = 0, idle_steps: int = 10) -> Any:
    """The adapter that an evaluation uses. Raises UserError where LIBERO or vla-eval is not installed."""
    if str(INSIDE) not in sys.path:
        sys.path.insert(0, str(INSIDE))
    try:
        from vlm4vla_libero import Libero

        Libero.configure_render(render)
        simulator = Libero(
            suite=SUITE,
            seed=seed,
            env_seed=seed,
            num_steps_wait=idle_steps,
            send_state=True,
            quat_no_antipodal=True,
            picture=DRAWN,
        )
        simulator.get_tasks()
    except ModuleNotFoundError as error:
        raise UserError(
            f"LIBERO: {error.name!r} is not installed in {sys.prefix}: {MADE_BY['libero']}"
        ) from None
    return simulator


def record(simulator: Any, task: int, state: int, *, size: int, max_steps: int) -> Recording | None:
    """Let the script do `task` from initial state `state`; None when it does not in `max_steps`."""
    described = {**simulator.get_tasks()[task], "episode_idx": state}
    raw, script = simulator.reset(described), Script(TASKS[task])
    pictures, states, actions = [], [], []
    for _ in range(max_steps):
        action = script(raw)
        if action is None:
            return None
        seen = simulator.make_obs(raw, described)
        pictures.append(fitted(seen["images"][CAMERA], size))
        states.append(np.asarray(seen["states"], dtype=np.float32))
        actions.append(action)
        result = simulator.step({"actions": action})
        raw = result.obs
        if result.done:
            stacked = (np.stack(each) for each in (pictures, states, actions))
            return Recording(described["name"], *stacked)
    return None


def collect(
    output: Path,
    *,
    tasks: Sequence[int],
    states: Sequence[int],
    size: int,
    max_steps: int = 520,
    render: str = "cpu",
    seed: int = 0,
) -> int:
    """Record every task of `tasks` from every initial state of `states` into the folder `output`.

    Returns how many episodes were solved; the others are left out. Raises UserError for a task that the
    script cannot do, and when no episode was solved.
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise UserError(
            f"--tasks: no script for task {unknown[0]}: write some of {', '.join(map(str, TASKS))}"
        )
    settings = {"tasks": [*tasks], "states": [*states], "size": size, "max_steps": max_steps, "seed": seed}
    provenance = Provenance("libero-demonstrations", settings, {}, seed)
    simulator = open_simulator(render=render, seed=seed)
    progress = Progress("demonstrations LIBERO-10", len(tasks) * len(states))
    solved = 0
    writer = LeRobotWriter(
        output,
        fps=FPS,
        robot_type="panda",
        image_size=size,
        state_names=STATES,
        more={INITIAL_STATE: ("index",)},
    )
    with writer:
        for number, (task, state) in enumerate(((t, s) for t in tasks for s in states), start=1):
            made = record(simulator, task, state, size=size, max_steps=max_steps)
            if made is not None:
                starts = {INITIAL_STATE: np.full((len(made.actions), 1), state, dtype=np.float32)}
                writer.add_episode(made.pictures, made.states, made.actions, made.instruction, starts)
                solved += 1
            progress.update(number, f"{solved} solved")
        if not solved:
            raise UserError(f"{output}: the script solved none of {len(tasks) * len(states)} episodes")
    simulator.cleanup()
    files = {str(p.relative_to(output)): file_hash(p) for p in sorted((output / "data").rglob("*.parquet"))}
    provenance.write(output / "provenance.json", files=files, solved=solved)
    return solved
