"""Frames of scripted demonstrations with what is true in them: for the tasks that ask about a robot at work.

Training frames come from the demonstrations' own generator; held-out frames from another seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm4vla.benchmarks.base import Task as Instruction
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.benchmarks.camera import project
from vlm4vla.benchmarks.painter import FIXTURES
from vlm4vla.benchmarks.recording import Recording, recordings
from vlm4vla.benchmarks.world import World
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.questions.statements import Picture, Statement

MAX_STEPS = 80  # of one demonstration
NOISE = 0.1  # share of disturbed steps; see config's demonstrations.noise
HELD_OUT = 1_000_003  # added to the seed of held-out frames


@dataclass(frozen=True)
class Frame:
    """One step of a demonstration.

    `ground`: where things and the gripper are, (3,) m; `places`: the same in the picture, column and row, not
    limited to 0..1; `step` of `recording`, whose `seen` holds the frames' truths.
    """

    recording: Recording
    step: int
    ground: dict[str, np.ndarray]
    places: dict[str, tuple[float, float]]
    parts: tuple[str, ...]  # the instruction's parts in order, in words, that are still to do

    @property
    def image(self) -> np.ndarray:
        return self.recording.images[self.step]

    @property
    def instruction(self) -> str:
        return self.recording.instruction

    def later(self, steps: int) -> Frame | None:
        """The frame `steps` later in the same demonstration, None after its end."""
        at = self.step + steps
        return frame_of(self.recording, at) if at < len(self.recording.seen) else None


def frame_of(recording: Recording, step: int) -> Frame:
    ground, places, parts = recording.seen[step]
    return Frame(recording, step, ground, places, parts)


def watch(world: World, task: Instruction) -> tuple:
    """What `Frame` keeps of a world: ground, places, parts."""
    names = [*world.present, *(name for name in world.fixtures if world.fixtures[name][2] > -1)]
    ground = {FIXTURES.get(name, name): np.array(world.position(name)) for name in sorted(names)}
    ground["gripper"] = world.hand.copy()
    flat = project(world.look, np.array(list(ground.values())))
    places = {name: (float(p[0]), float(p[1])) for name, p in zip(ground, flat, strict=True)}
    return ground, places, tuple(in_words(skill) for skill in task.skills if not skill.done(world))


def in_words(skill) -> str:
    """A skill as a sub-task: what is done to what."""
    kind = type(skill).__name__.lower()
    if kind == "place":
        return f"put {skill.prop} {skill.onto}"
    if kind == "articulate":
        return f"move {FIXTURES[skill.fixture]}"
    if kind == "press":
        return "press button"
    return f"{kind} {skill.prop}"


Ask = Callable[[np.random.Generator, Frame], list[tuple[str, str]]]


def frames(
    name: str,
    ask: Ask,
    split: str,
    count: int,
    seed: int,
    image_size: int,
    benchmarks: Sequence[str],
    every: int = 3,
) -> Iterator[Picture]:
    """Pictures of every `every`-th frame about which `ask` has questions, from `benchmarks` in turn."""
    seed = seed + (HELD_OUT if split == "held_out" else 0)
    sources = [
        recordings(get_benchmark(each), 10**9, NOISE, seed, MAX_STEPS, image_size, watch)
        for each in benchmarks
    ]
    made = number = 0
    while made < count:
        recording = next(sources[number % len(sources)])
        rng = rng_for(name, split, seed, number)
        number += 1
        for step in range(int(rng.integers(every)), len(recording.images), every):
            frame = frame_of(recording, step)
            said = ask(rng, frame)
            if said:
                inside = {n: p for n, p in frame.places.items() if 0 < p[0] < 1 and 0 < p[1] < 1}
                statements = [Statement(name, question, answer) for question, answer in said]
                yield Picture(frame.image, inside, statements, frame.ground)
                made += 1
                if made == count:
                    return
