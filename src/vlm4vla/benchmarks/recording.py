"""Recordings of scripted experts that solve a benchmark's tasks, for demonstrations and auxiliary tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import Benchmark, Task
from vlm4vla.benchmarks.looks import project
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.skills import limit_motion
from vlm4vla.benchmarks.world import World
from vlm4vla.core.errors import UserError
from vlm4vla.core.seeding import rng_for

FLIP = 0.02  # share of steps at which noise inverts the expert's gripper command


@dataclass
class Recording:
    """One solved instruction: images (T, H, W, 3) uint8, states (T, 8), actions (T, 7), points (T, 2).

    `points`: position of the gripper in the image, column and row as shares of its width and height.
    `annotations`: what `annotate` returned at each of the T steps, before the action.
    """

    instruction: str
    images: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    points: np.ndarray
    annotations: list[Any] = field(default_factory=list)


Annotate = Callable[[World, Task], Any]


def record(
    benchmark: Benchmark,
    world: World,
    task: Task,
    rng: np.random.Generator,
    noise: float,
    max_steps: int,
    annotate: Annotate | None = None,
) -> Recording | None:
    """Let the expert solve `task` from the world's present state.

    Returns None if the expert needs more than `max_steps`. At a share `noise` of the steps, the executed
    motion differs from the recorded action. The data thus contains states off the expert's path, together
    with the action that leads back.
    """
    images, states, actions, points, annotations = [], [], [], [], []
    task.begin(world)
    for _ in range(max_steps):
        if task.done(world):
            break
        command = task.act(world)
        motion, rotation = limit_motion(world, command, benchmark.speed, benchmark.turn)
        clean = benchmark.action(motion, rotation, command.open)
        if annotate is not None:
            annotations.append(annotate(world, task))
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
    return Recording(task.instruction, *stacked, annotations)


def recordings(
    benchmark: Benchmark,
    episodes: int,
    noise: float,
    seed: int,
    max_steps: int,
    image_size: int,
    annotate: Annotate | None = None,
) -> Iterator[Recording]:
    """Yield the recordings of `episodes` solved instructions; every instruction of a chain counts.

    Raises UserError if the expert fails more often than it succeeds, because `noise` is too large.
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
            recording = record(benchmark, world, task, rng, noise, max_steps, annotate)
            if recording is None:
                failed += 1
                break
            yield recording
            made += 1
            if made == episodes:
                return
        if failed > 20 + made:
            raise UserError(
                f"benchmarks.{benchmark.name}.demonstrations.noise: with {noise} the expert fails "
                f"{failed} of {failed + made} times: write a smaller number"
            )
