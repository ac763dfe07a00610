"""The `demonstrations` stage: scripted experts solve a benchmark's tasks, recorded as a LeRobot data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import Benchmark, Task
from vlm4vla.benchmarks.camera import project
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.skills import limited
from vlm4vla.benchmarks.world import World
from vlm4vla.core.errors import UserError
from vlm4vla.core.seeding import rng_for

FLIP = 0.02  # share of steps at which noise closes or opens the fingers against the expert's wish


@dataclass
class Recording:
    """One instruction, solved: images (T, H, W, 3) uint8, states (T, 8), actions (T, 7), points (T, 2).

    `points`: where the gripper is in the picture, column and row as shares of its width and height.
    `seen`: what `watch` said of the world at each of the T steps, before the action.
    """

    instruction: str
    images: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    points: np.ndarray
    seen: list[Any] = field(default_factory=list)


Watch = Callable[[World, Task], Any]


def record(
    benchmark: Benchmark,
    world: World,
    task: Task,
    rng: np.random.Generator,
    noise: float,
    max_steps: int,
    watch: Watch | None = None,
) -> Recording | None:
    """Let the expert solve `task` from the world's present state; None when it does not in `max_steps`.

    At a share `noise` of the steps the executed motion differs from the recorded one, so that the data holds
    states off the expert's path with the action that leads back.
    """
    images, states, actions, points, seen = [], [], [], [], []
    task.begin(world)
    for _ in range(max_steps):
        if task.done(world):
            break
        command = task.act(world)
        motion, rotation = limited(world, command, benchmark.speed, benchmark.turn)
        clean = benchmark.action(motion, rotation, command.open)
        if watch is not None:
            seen.append(watch(world, task))
        images.append(world.render(rng))
        states.append(world.state())
        actions.append(clean)
        points.append(project(world.look, world.hand[None])[0, :2])
        if rng.random() < noise:
            motion = motion + rng.normal(0, 0.5 * benchmark.speed, 3)
            rotation = rotation + np.array([0, 0, rng.normal(0, 0.3 * benchmark.turn)])
        is_open = command.open != bool(noise and rng.random() < FLIP)
        benchmark.apply(world, benchmark.action(motion, rotation, is_open))
    if not actions or not task.done(world):
        return None
    stacked = (np.stack(each) for each in (images, states, actions, points))
    return Recording(task.instruction, *stacked, seen)


def recordings(
    benchmark: Benchmark,
    episodes: int,
    noise: float,
    seed: int,
    max_steps: int,
    image_size: int,
    watch: Watch | None = None,
) -> Iterator[Recording]:
    """`episodes` solved instructions; a chain counts once for each of its instructions.

    Raises UserError when the expert fails more often than it solves, which no setting of noise should do.
    """
    worlds: dict[Layout, World] = {}
    made = failed = index = 0
    while made < episodes:
        start = benchmark.demonstration(index, seed)
        rng = rng_for(benchmark.name, "noise", seed, index)
        index += 1
        layout = Layout(start.layout.props, start.layout.fixtures, image_size=image_size)
        if layout not in worlds:
            worlds[layout] = World(Arena(layout))
        world = worlds[layout]
        hand = (rng.uniform(-0.05, 0.05), -0.02 + rng.uniform(-0.05, 0.05), 0.16 + rng.uniform(-0.04, 0.02))
        start.start(world, hand)
        for task in start.tasks:
            recording = record(benchmark, world, task, rng, noise, max_steps, watch)
            if recording is None:
                failed += 1
                break
            yield recording
            made += 1
            if made == episodes:
                return
        if failed > 20 + made:
            raise UserError(
                f"benchmarks.{benchmark.name}.demonstrations.noise: {noise} makes the expert fail "
                f"{failed} of {failed + made} times: write less"
            )
