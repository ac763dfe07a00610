"""The base classes of the embedded benchmarks: tasks, episodes and benchmarks."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlm4vla.benchmarks.looks import Look
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.skills import HandCommand, Skill
from vlm4vla.benchmarks.world import START, World
from vlm4vla.conventions.actions import Gripper
from vlm4vla.conventions.benchmarks import BENCHMARKS, ONLY_REAL, gripper
from vlm4vla.core import registry
from vlm4vla.core.errors import UserError


@dataclass(frozen=True)
class Task:
    """One instruction. It is solved when all its skills are done at the same time.

    The expert does the skills in order.
    """

    name: str
    instruction: str
    skills: tuple[Skill, ...]

    def begin(self, world: World) -> None:
        for skill in self.skills:
            skill.begin(world)

    def done(self, world: World) -> bool:
        return all(skill.done(world) for skill in self.skills)

    def act(self, world: World) -> HandCommand:
        for skill in self.skills:
            if not skill.done(world):
                return skill.act(world)
        return HandCommand(world.hand + [0.0, 0.0, 0.02], 0.0, True)


@dataclass(frozen=True)
class Episode:
    """An initial state, and the tasks to solve from it one after another. Only a chain has several tasks."""

    layout: Layout
    props: Mapping[str, tuple[float, float, float]]
    look: Look
    tasks: tuple[Task, ...]
    fixtures: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    q: Mapping[str, float] = field(default_factory=dict)
    led: bool = False
    initial_state: int = 0

    def start(self, world: World, hand: tuple[float, float, float] = START) -> None:
        world.reset(self.props, self.fixtures, self.look, self.q, self.led, hand)


class Benchmark(ABC):
    """An embedded benchmark.

    Demonstrations call `demonstration`, rollouts call `evaluation`, and the vocabulary calls `instructions`.
    Actions are (7,): x, y, z in `position_unit` metres, roll, pitch, yaw in `rotation_unit` radians, and the
    gripper in the real benchmark's polarity. A user's own benchmark sets `gripper`, and may set `title` and
    `instructions_per_episode`; the built-in ones have these facts in conventions/benchmarks.py.
    """

    name: str
    fps: int = 10
    position_unit: float
    rotation_unit: float
    clip: float = np.inf  # largest magnitude of a motion entry of an action
    speed: float  # the expert's top speed, metres per step
    turn: float  # the expert's top turning speed, radians per step
    gripper: Gripper | None = None
    title: str | None = None  # in tables and figures; None: the name
    instructions_per_episode: int = 1  # more than one: every episode is a chain of so many tasks

    @abstractmethod
    def instructions(self) -> list[str]:
        """Return every wording that demonstrations or evaluation can use."""

    @abstractmethod
    def demonstration(self, index: int, seed: int) -> Episode:
        """Return the start of demonstration `index`. It differs from every evaluation episode."""

    @abstractmethod
    def evaluation(self, episodes: int, seed: int) -> Sequence[Episode]:
        """Return the fixed initial states of the benchmark: `episodes` chains, or `episodes` per task."""

    def action(self, motion: np.ndarray, rotation: np.ndarray, is_open: bool) -> np.ndarray:
        """Return the action (7,) float32 for a motion (3,) m, a rotation (3,) rad and a gripper state."""
        pose = np.concatenate([motion / self.position_unit, rotation / self.rotation_unit])
        pose = np.clip(pose, -self.clip, self.clip)
        polarity = self.gripper or gripper(self.name)
        return np.append(pose, polarity.open if is_open else polarity.close).astype(np.float32)

    def apply(self, world: World, action: np.ndarray) -> None:
        """Run one control step with an action (7,) in the benchmark's units and polarity."""
        pose = np.clip(np.asarray(action[:6], float), -self.clip, self.clip)
        polarity = self.gripper or gripper(self.name)
        opens = abs(action[6] - polarity.open) < abs(action[6] - polarity.close)
        motion = np.clip(pose[:3] * self.position_unit, -0.09, 0.09)
        world.step(motion, np.clip(pose[3:] * self.rotation_unit, -0.5, 0.5), bool(opens))


def get_benchmark(name: str) -> Benchmark:
    """Return the embedded benchmark called `name`. Raises UserError if there is none."""
    if name in BENCHMARKS:
        module, attribute = BENCHMARKS[name].embedded_class.split(":")
        return getattr(importlib.import_module(module), attribute)()
    if name in ONLY_REAL:
        raise UserError(f"benchmark {name!r} is not embedded: write its `evaluation.simulator`")
    found = registry.find("benchmark", name)
    if found is None:
        *others, last = [*BENCHMARKS, *registry.names("benchmark")]
        raise UserError(f"benchmark {name!r} is unknown: write {', '.join(others)} or {last}")
    return found()


def scatter(
    rng: np.random.Generator,
    count: int,
    low: tuple[float, float],
    high: tuple[float, float],
    apart: float,
    taken: Sequence[tuple[float, float]] = (),
) -> list[tuple[float, float]]:
    """Draw `count` points (x, y) in a box, at least `apart` metres from each other and from `taken`.

    Raises ValueError if the box has no room for the points.
    """
    for _ in range(1000):
        points: list[tuple[float, float]] = []
        for _ in range(60 * count):
            point = (float(rng.uniform(low[0], high[0])), float(rng.uniform(low[1], high[1])))
            if all(np.hypot(point[0] - p[0], point[1] - p[1]) >= apart for p in [*taken, *points]):
                points.append(point)
                if len(points) == count:
                    return points
    raise ValueError(f"no room for {count} points {apart} m apart in {low}..{high}")
