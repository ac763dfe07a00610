"""The two sources of pictures for auxiliary tasks: random scenes, and frames of scripted demonstrations.

A task passes a function that asks questions about a scene or a frame; see `SceneQuestions` and
`FrameQuestions`. Scenes and frames without a question are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm4vla.benchmarks.base import Task, get_benchmark
from vlm4vla.benchmarks.looks import project
from vlm4vla.benchmarks.painter import FIXTURES, Painter
from vlm4vla.benchmarks.recording import Recording, recordings
from vlm4vla.benchmarks.world import World
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.questions.statements import Picture, Statement

MAX_STEPS = 80  # of one demonstration
NOISE = 0.1  # share of disturbed steps, as demonstrations.noise in the configuration
HELD_OUT_SEED = 1_000_003  # added to the seed of the held-out split

# Scenes ------------------------------------------------------------------------------------------------

SceneQuestions = Callable[[np.random.Generator, Picture], list[tuple[str, str]]]
"""Returns the questions about a picture, each with its answer."""


def scenes(
    name: str,
    ask: SceneQuestions,
    split: str,
    count: int,
    seed: int,
    image_size: int,
    look: str = "internet",
    dense: bool = False,
) -> Iterator[Picture]:
    """Yield `count` pictures of random scenes for the task `name`, with the questions of `ask`.

    `look`: see `Painter`. `dense` adds the depth and class of every pixel.
    """
    painter = Painter(image_size, look)
    index = made = 0
    while made < count:
        picture = painter.draw(f"{name} {split}", seed, index, dense)
        questions = ask(rng_for(name, split, seed, index), picture)
        index += 1
        if questions:
            picture.statements = [Statement(name, question, answer) for question, answer in questions]
            made += 1
            yield picture


def things(picture: Picture) -> list[str]:
    """Return the names of the props and fixtures in a picture, without the robot."""
    return [name for name in picture.places if name not in ("gripper", "shadow")]


# Frames ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One step of a demonstration.

    `ground`: positions of the things and the gripper, (3,) m. `places`: the same positions in the image,
    column and row as shares of its width and height; outside the image they are not in 0..1. `subtasks`: the
    parts of the instruction that are not done yet, in order and in words. `step` is an index into the arrays
    of `recording`.
    """

    recording: Recording
    step: int
    ground: dict[str, np.ndarray]
    places: dict[str, tuple[float, float]]
    subtasks: tuple[str, ...]

    @property
    def image(self) -> np.ndarray:
        return self.recording.images[self.step]

    @property
    def instruction(self) -> str:
        return self.recording.instruction

    def later(self, steps: int) -> Frame | None:
        """Return the frame `steps` later in the same demonstration, or None after its end."""
        step = self.step + steps
        return frame_at(self.recording, step) if step < len(self.recording.annotations) else None


def frame_at(recording: Recording, step: int) -> Frame:
    """Return one frame of a recording that `annotate` has annotated."""
    ground, places, subtasks = recording.annotations[step]
    return Frame(recording, step, ground, places, subtasks)


def annotate(world: World, task: Task) -> tuple:
    """Return `ground`, `places` and `subtasks` of a `Frame` from the state of the world."""
    names = [*world.present, *(name for name in world.fixtures if world.fixtures[name][2] > -1)]
    ground = {FIXTURES.get(name, name): np.array(world.position(name)) for name in sorted(names)}
    ground["gripper"] = world.hand.copy()
    projected = project(world.look, np.array(list(ground.values())))
    places = {name: (float(p[0]), float(p[1])) for name, p in zip(ground, projected, strict=True)}
    return ground, places, tuple(describe_skill(skill) for skill in task.skills if not skill.done(world))


def describe_skill(skill) -> str:
    """Return a skill in words, as a subtask."""
    kind = type(skill).__name__.lower()
    if kind == "place":
        return f"put {skill.prop} {skill.onto}"
    if kind == "articulate":
        return f"move {FIXTURES[skill.fixture]}"
    if kind == "press":
        return "press button"
    return f"{kind} {skill.prop}"


FrameQuestions = Callable[[np.random.Generator, Frame], list[tuple[str, str]]]
"""Returns the questions about a frame, each with its answer."""


def frames(
    name: str,
    ask: FrameQuestions,
    split: str,
    count: int,
    seed: int,
    image_size: int,
    benchmarks: Sequence[str],
    every: int = 3,
) -> Iterator[Picture]:
    """Yield `count` frames of demonstrations for the task `name`, with the questions of `ask`.

    The demonstrations come from the embedded `benchmarks` in turn, and every `every`-th frame is used. The
    held-out split has another seed than the training split.
    """
    seed = seed + (HELD_OUT_SEED if split == "held_out" else 0)
    sources = [
        recordings(get_benchmark(each), 10**9, NOISE, seed, MAX_STEPS, image_size, annotate)
        for each in benchmarks
    ]
    made = number = 0
    while made < count:
        recording = next(sources[number % len(sources)])
        rng = rng_for(name, split, seed, number)
        number += 1
        for step in range(int(rng.integers(every)), len(recording.images), every):
            frame = frame_at(recording, step)
            questions = ask(rng, frame)
            if questions:
                visible = {n: p for n, p in frame.places.items() if 0 < p[0] < 1 and 0 < p[1] < 1}
                statements = [Statement(name, question, answer) for question, answer in questions]
                yield Picture(frame.image, visible, statements, frame.ground)
                made += 1
                if made == count:
                    return
