"""Record scripted demonstrations on a real simulator, as a LeRobot dataset.

The episodes run through the same class that vla-eval uses in an evaluation, so idle steps, images and gripper
commands are the same. Only images that are stored in another size than that of the policy are resized twice.
Every frame stores the initial state of its episode, so that the recorded actions can be replayed
(`vlm4vla.evaluation.simulators.served_policies.ServedReplay`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.core.artefacts import Provenance, file_hash, files_of
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators.conversions import fit_image
from vlm4vla.evaluation.simulators.harness import INSIDE
from vlm4vla.evaluation.simulators.recorded_states import INITIAL_STATE

DISTURBANCE = 0.5  # standard deviation of disturbed motion, where 1 is the largest motion

Script = Callable[[Any], np.ndarray | None]


@dataclass(frozen=True)
class Scripted:
    """A simulator with scripts.

    `adapter`: its key in the configuration. `fps`: control steps in a second. `states`: the names of the
    robot's state. `max_steps`: the most steps of an episode. `tasks`: the numbers of the tasks with a script.
    `script`: the script of a task, given the simulator and its description of the task. It returns the action
    (7,) for the simulator's raw observation, or None when it has ended.
    """

    adapter: str
    title: str
    robot: str
    fps: int
    states: tuple[str, ...]
    max_steps: int
    tasks: tuple[int, ...]
    script: Callable[[Any, dict[str, Any]], Script]


class Open(Protocol):
    """Opens the class that an evaluation uses."""

    def __call__(self, *, render: str, seed: int, **params: Any) -> Any: ...


@dataclass
class RecordedEpisode:
    """A solved episode: images (T, size, size, 3) uint8, states (T, S) and actions (T, 7) float32."""

    instruction: str
    images: np.ndarray
    states: np.ndarray
    actions: np.ndarray


def open_adapter(adapter: str, class_name: str, render: str, **params: Any) -> Any:
    """Create a class of `inside/`, `module:Class`, with one camera and the robot's state.

    Raises UserError if the simulator or vla-eval is not installed.
    """
    if str(INSIDE) not in sys.path:
        sys.path.insert(0, str(INSIDE))
    module, name = class_name.split(":")
    try:
        kind = getattr(importlib.import_module(module), name)
        kind.configure_render(render)
        simulator = kind(send_state=True, **params)
        simulator.get_tasks()
    except ModuleNotFoundError as error:
        raise UserError(
            f"{adapter}: {error.name!r} is not installed in {sys.prefix}: run `{KNOWN[adapter].installation}`"
        ) from None
    return simulator


def record_episode(
    simulator: Any,
    scripted: Scripted,
    task: int,
    state: int,
    *,
    size: int,
    max_steps: int,
    noise: float = 0.0,
    seed: int = 0,
) -> RecordedEpisode | None:
    """Run the script on `task` from the initial state `state`. None unless it solves the task in time.

    At a share `noise` of the steps, the executed motion differs from the recorded action, as in
    `vlm4vla.benchmarks.recording`. Such actions do not solve the task again when they are replayed.
    """
    rng = rng_for(scripted.adapter, "noise", seed, task, state)
    described = {**simulator.get_tasks()[task], "episode_idx": state}
    camera = KNOWN[scripted.adapter].camera
    raw, script = simulator.reset(described), scripted.script(simulator, described)
    images, states, actions = [], [], []
    for _ in range(max_steps):
        action = script(raw)
        if action is None:
            return None
        observation = simulator.make_obs(raw, described)
        images.append(fit_image(observation["images"][camera], size))
        states.append(np.asarray(observation["states"], dtype=np.float32))
        actions.append(action)
        result = simulator.step({"actions": disturbed(action, rng) if rng.random() < noise else action})
        raw = result.obs
        if result.done:
            stacked = (np.stack(each) for each in (images, states, actions))
            return RecordedEpisode(described["name"], *stacked)
    return None


def disturbed(action: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`action` (7,) with another motion, within [-1, 1]."""
    motion = np.clip(action[:3] + rng.normal(0, DISTURBANCE, 3), -1, 1)
    return np.concatenate([motion, action[3:]]).astype(np.float32)


def record(
    output: Path,
    scripted: Scripted,
    open_simulator: Open,
    *,
    tasks: Sequence[int],
    states: Sequence[int],
    size: int,
    rendered: int | None = None,
    max_steps: int | None = None,
    render: str = "cpu",
    seed: int = 0,
    noise: float = 0.0,
    noise_seed: int = 0,
    provenance: Provenance | None = None,
) -> int:
    """Record every task of `tasks` from every initial state of `states` into the folder `output`.

    Images are rendered with `rendered` pixels a side, by default as in an evaluation, and stored with `size`.
    `noise`: see `record_episode`. `provenance`: that of the stage which records. Returns the number of solved
    episodes; episodes that are not solved are left out. Raises UserError for a task without a script, for a
    state that does not exist or is one of evaluations, and if no episode is solved.
    """
    unknown = [task for task in tasks if task not in scripted.tasks]
    if unknown:
        raise UserError(
            f"--tasks: there is no script for task {unknown[0]}: write some of "
            + ", ".join(map(str, scripted.tasks))
        )
    first = KNOWN[scripted.adapter].demonstrations_from or 0
    if min(states) < first:
        raise UserError(
            f"--states: {min(states)} is an initial state of evaluations: write numbers from {first} on"
        )
    count = KNOWN[scripted.adapter].states
    if count is not None and max(states) >= count:
        raise UserError(
            f"--states: {scripted.title} has no initial state {max(states)}: write numbers below {count}"
        )
    max_steps = max_steps or scripted.max_steps
    if provenance is None:
        settings = {
            "tasks": [*tasks],
            "states": [*states],
            "size": size,
            "max_steps": max_steps,
            "seed": seed,
        }
        provenance = Provenance(f"{scripted.adapter}-demonstrations", settings, {}, seed)
    params = {} if rendered is None else {"image_size": rendered}
    simulator = open_simulator(render=render, seed=seed, **params)
    progress = Progress(f"demonstrations {scripted.title}", len(tasks) * len(states))
    solved = 0
    writer = LeRobotWriter(
        output,
        fps=scripted.fps,
        robot_type=scripted.robot,
        image_size=size,
        state_names=scripted.states,
        extra_columns={INITIAL_STATE: ("index",)},
    )
    with writer:
        for number, (task, state) in enumerate(((t, s) for t in tasks for s in states), start=1):
            episode = record_episode(
                simulator, scripted, task, state, size=size, max_steps=max_steps, noise=noise, seed=noise_seed
            )
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
