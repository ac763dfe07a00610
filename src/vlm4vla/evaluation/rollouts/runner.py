"""Run many episodes together. An image is rendered once per executed chunk, not once per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import Benchmark, Episode
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.world import World
from vlm4vla.core.seeding import rng_for
from vlm4vla.evaluation.rollouts.actors import Actor

FILM_EVERY = 2  # steps between two frames of a video


@dataclass
class Outcome:
    """The result of an episode.

    `solved`: number of instructions solved in a row. `steps`: total number of steps. `frames`: images
    (H, W, 3) uint8 of the video, empty if the episode was not filmed.
    """

    solved: int = 0
    steps: int = 0
    frames: list[np.ndarray] = field(default_factory=list)


@dataclass
class _RunningEpisode:
    """An episode and its world. `task`: index of the instruction. `queue`: actions still to execute."""

    number: int
    episode: Episode
    world: World
    outcome: Outcome
    rng: np.random.Generator
    task: int = 0
    task_steps: int = 0  # steps spent on the current instruction
    queue: list[np.ndarray] = field(default_factory=list)
    over: bool = False


class WorldPool:
    """Worlds that are reused from batch to batch, because a rendering context is expensive to create."""

    def __init__(self, image_size: int):
        self.image_size = image_size
        self._arenas: dict[Layout, Arena] = {}
        self._free: dict[Layout, list[World]] = {}

    def acquire(self, layout: Layout) -> World:
        """A world with `layout` that no other episode uses."""
        layout = replace(layout, image_size=self.image_size)
        if self._free.get(layout):
            return self._free[layout].pop()
        if layout not in self._arenas:
            self._arenas[layout] = Arena(layout)
        return World(self._arenas[layout])

    def release(self, world: World) -> None:
        """Make `world` available to other episodes."""
        self._free.setdefault(world.arena.layout, []).append(world)


def run_batch(
    pool: WorldPool,
    benchmark: Benchmark,
    actor: Actor,
    episodes: Sequence[Episode],
    first: int,
    *,
    max_steps: int,
    seed: int,
    filmed: int,
    numbers: Sequence[int] | None = None,
) -> list[Outcome]:
    """Run `episodes` to their ends. They have the numbers `first`, `first` + 1, …, or else `numbers`.

    An instruction is solved at the first step at which its condition holds. The rest of the plan is then
    discarded and the next instruction begins. An episode ends when its last instruction is solved, or when an
    instruction is not solved within `max_steps` steps. Episodes with a number under `filmed` are filmed.
    """
    running = []
    if numbers is None:
        numbers = range(first, first + len(episodes))
    for number, episode in zip(numbers, episodes, strict=True):
        world = pool.acquire(episode.layout)
        episode.start(world)
        episode.tasks[0].begin(world)
        rng = rng_for("rollout camera", seed, number)
        running.append(_RunningEpisode(number, episode, world, Outcome(), rng))
    while active := [each for each in running if not each.over]:
        waiting = [each for each in active if not each.queue]
        if waiting:
            images = None
            if actor.needs_images:
                images = np.stack([each.world.render(each.rng) for each in waiting])
            plans = actor.plan(
                [each.world for each in waiting],
                [each.episode.tasks[each.task] for each in waiting],
                [each.number for each in waiting],
                images,
            )
            for each, plan in zip(waiting, plans, strict=True):
                each.queue = list(plan)
        for each in active:
            if each.number < filmed and each.outcome.steps % FILM_EVERY == 0:
                each.outcome.frames.append(each.world.render(each.rng))
            _step(each, benchmark, max_steps)
    for each in running:
        pool.release(each.world)
    return [each.outcome for each in running]


def _step(running: _RunningEpisode, benchmark: Benchmark, max_steps: int) -> None:
    benchmark.apply(running.world, running.queue.pop(0))
    running.outcome.steps += 1
    running.task_steps += 1
    if running.episode.tasks[running.task].done(running.world):
        running.outcome.solved += 1
        running.task += 1
        running.task_steps = 0
        running.queue = []
        running.over = running.task == len(running.episode.tasks)
        if not running.over:
            running.episode.tasks[running.task].begin(running.world)
    elif running.task_steps >= max_steps:
        running.over = True
