"""Steps many episodes together: one picture and one query for each executed chunk, not for each step."""

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

FILM_EVERY = 2  # steps between two frames of a kept film


@dataclass
class Outcome:
    """How an episode went: `solved` instructions in a row, `steps` in all, and frames if it was filmed."""

    solved: int = 0
    steps: int = 0
    frames: list[np.ndarray] = field(default_factory=list)


@dataclass
class _Lane:
    """One world in use: its episode, the instruction at hand, and the actions still to execute."""

    number: int
    episode: Episode
    world: World
    outcome: Outcome
    rng: np.random.Generator
    task: int = 0
    taken: int = 0  # steps spent on the present instruction
    queue: list[np.ndarray] = field(default_factory=list)
    over: bool = False


class Stage:
    """Worlds by layout, kept from batch to batch, because a drawing context is dear."""

    def __init__(self, image_size: int):
        self.image_size = image_size
        self._arenas: dict[Layout, Arena] = {}
        self._free: dict[Layout, list[World]] = {}

    def take(self, layout: Layout) -> World:
        layout = replace(layout, image_size=self.image_size)
        if self._free.get(layout):
            return self._free[layout].pop()
        if layout not in self._arenas:
            self._arenas[layout] = Arena(layout)
        return World(self._arenas[layout])

    def give_back(self, world: World) -> None:
        self._free.setdefault(world.arena.layout, []).append(world)


def run_batch(
    stage: Stage,
    benchmark: Benchmark,
    actor: Actor,
    episodes: Sequence[Episode],
    first: int,
    *,
    max_steps: int,
    seed: int,
    filmed: int,
) -> list[Outcome]:
    """Run episodes number `first`, `first` + 1, … to their ends.

    An instruction counts as solved at the step at which its condition first holds; then the plan is dropped
    and the next one begins. An episode ends when an instruction takes more than `max_steps` steps.
    The first `filmed` episodes of the benchmark are filmed.
    """
    lanes = []
    for number, episode in enumerate(episodes, start=first):
        world = stage.take(episode.layout)
        episode.start(world)
        episode.tasks[0].begin(world)
        lanes.append(_Lane(number, episode, world, Outcome(), rng_for("rollout camera", seed, number)))
    while alive := [lane for lane in lanes if not lane.over]:
        waiting = [lane for lane in alive if not lane.queue]
        if waiting:
            images = np.stack([lane.world.render(lane.rng) for lane in waiting]) if actor.sees else None
            plans = actor.plan(
                [lane.world for lane in waiting],
                [lane.episode.tasks[lane.task] for lane in waiting],
                [lane.number for lane in waiting],
                images,
            )
            for lane, plan in zip(waiting, plans, strict=True):
                lane.queue = list(plan)
        for lane in alive:
            if lane.number < filmed and lane.outcome.steps % FILM_EVERY == 0:
                lane.outcome.frames.append(lane.world.render(lane.rng))
            _advance(lane, benchmark, max_steps)
    for lane in lanes:
        stage.give_back(lane.world)
    return [lane.outcome for lane in lanes]


def _advance(lane: _Lane, benchmark: Benchmark, max_steps: int) -> None:
    benchmark.apply(lane.world, lane.queue.pop(0))
    lane.outcome.steps += 1
    lane.taken += 1
    if lane.episode.tasks[lane.task].done(lane.world):
        lane.outcome.solved += 1
        lane.task += 1
        lane.taken = 0
        lane.queue = []
        lane.over = lane.task == len(lane.episode.tasks)
        if not lane.over:
            lane.episode.tasks[lane.task].begin(lane.world)
    elif lane.taken >= max_steps:
        lane.over = True
