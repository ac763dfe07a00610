"""Record scripted demonstrations on the real LIBERO simulator, as a LeRobot dataset.

The episodes run through the same class that vla-eval uses in an evaluation, so idle steps, images and gripper
commands are the same. Every frame stores the initial state of its episode, so that the recorded actions can
be replayed (`vlm4vla.evaluation.simulators.served_policies.ServedReplay`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.core.artefacts import Provenance, file_hash, files_of
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators.conversions import fit_image
from vlm4vla.evaluation.simulators.harness import INSIDE
from vlm4vla.evaluation.simulators.libero_script import TASKS, TaskScript
from vlm4vla.evaluation.simulators.recorded_states import INITIAL_STATE

CAMERA = "agentview"
FPS = 20  # LIBERO's control rate
STATES = ("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "finger_left", "finger_right")
RENDERED = 128  # pixels of a side at which images are rendered, before they are resized


@dataclass
class RecordedEpisode:
    """A solved episode: images (T, size, size, 3) uint8, states (T, 8) and actions (T, 7) float32."""

    instruction: str
    images: np.ndarray
    states: np.ndarray
    actions: np.ndarray


class Scene(dict[str, np.ndarray]):
    """An observation that also has NAME_pos (3,) of each site and body, such as a fixture."""

    def __init__(self, raw: Mapping[str, np.ndarray], simulator: Any):
        super().__init__(raw)
        self._simulator = simulator

    def __missing__(self, key: str) -> np.ndarray:
        return self._simulator.position(key.removesuffix("_pos"))


def open_simulator(*, render: str = "cpu", seed: int = 0, idle_steps: int = 10) -> Any:
    """Create the adapter that an evaluation uses. Raises UserError if LIBERO or vla-eval is not installed."""
    if str(INSIDE) not in sys.path:
        sys.path.insert(0, str(INSIDE))
    try:
        from vlm4vla_libero import LiberoSimulator

        LiberoSimulator.configure_render(render)
        simulator = LiberoSimulator(
            suite=KNOWN["libero"].suite,
            seed=seed,
            env_seed=seed,
            num_steps_wait=idle_steps,
            send_state=True,
            quat_no_antipodal=True,
            image_size=RENDERED,
        )
        simulator.get_tasks()
    except ModuleNotFoundError as error:
        raise UserError(
            f"LIBERO: {error.name!r} is not installed in {sys.prefix}: run `{KNOWN['libero'].installation}`"
        ) from None
    return simulator


def record_episode(
    simulator: Any, task: int, state: int, *, size: int, max_steps: int
) -> RecordedEpisode | None:
    """Run the script on `task` from the initial state `state`. None unless it solves the task in time."""
    described = {**simulator.get_tasks()[task], "episode_idx": state}
    raw, script = simulator.reset(described), TaskScript(TASKS[task])
    images, states, actions = [], [], []
    for _ in range(max_steps):
        action = script(Scene(raw, simulator))
        if action is None:
            return None
        observation = simulator.make_obs(raw, described)
        images.append(fit_image(observation["images"][CAMERA], size))
        states.append(np.asarray(observation["states"], dtype=np.float32))
        actions.append(action)
        result = simulator.step({"actions": action})
        raw = result.obs
        if result.done:
            stacked = (np.stack(each) for each in (images, states, actions))
            return RecordedEpisode(simulator.instruction(described), *stacked)
    return None


def record_dataset(
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

    Returns the number of solved episodes; episodes that are not solved are left out. Raises UserError for a
    task without a script, and if no episode is solved.
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise UserError(
            f"--tasks: there is no script for task {unknown[0]}: write some of {', '.join(map(str, TASKS))}"
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
        extra_columns={INITIAL_STATE: ("index",)},
    )
    with writer:
        for number, (task, state) in enumerate(((t, s) for t in tasks for s in states), start=1):
            episode = record_episode(simulator, task, state, size=size, max_steps=max_steps)
            if episode is not None:
                starts = {INITIAL_STATE: np.full((len(episode.actions), 1), state, dtype=np.float32)}
                writer.add_episode(
                    episode.images, episode.states, episode.actions, episode.instruction, starts
                )
                solved += 1
            progress.update(number, f"{solved} solved")
        if not solved:
            raise UserError(f"{output}: the script solved none of {len(tasks) * len(states)} episodes")
    simulator.cleanup()
    files = {str(p.relative_to(output)): file_hash(p) for p in files_of(output / "data", "**/*.parquet")}
    provenance.write(output / "provenance.json", files=files, solved=solved)
    return solved
