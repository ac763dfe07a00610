"""What an instruction asks of the world, and the scripted expert that does it.

A skill says when it is done and what a smooth expert does next. The expert is a function of the present
state only, as a policy without memory is: it approaches along a funnel, closes the fingers at the target,
carries, and opens; disturbed, it starts again from where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.world import World

TRAVEL = 0.11  # height (m) at which things are carried
# Horizontal and vertical distance (m) of its target at which the expert closes its fingers.
CLOSE = (0.045, 0.070)
RELEASE = (0.030, 0.040)  # and of its goal at which it lets go
RELEASE_ON_BLOCK = (0.012, 0.012)  # a block set down askew on another falls off


@dataclass(frozen=True)
class Command:
    """Where the hand should go next (m), its wanted yaw (rad), and whether the fingers are open."""

    target: np.ndarray
    yaw: float
    open: bool


class Skill(Protocol):
    def begin(self, world: World) -> None:
        """Called once when the instruction starts; skills that compare with a start remember it here."""

    def done(self, world: World) -> bool: ...

    def act(self, world: World) -> Command: ...


def _funnel(world: World, target: np.ndarray, floor: float = 0.012) -> np.ndarray:
    """Next point on the way down to `target`: the height follows the horizontal distance, so that the hand
    comes from above and never through its neighbours."""
    away = float(np.hypot(*(target - world.hand)[:2]))
    height = target[2] + np.clip(1.6 * (away - floor), 0.0, max(TRAVEL - target[2], 0.03))
    return np.array([target[0], target[1], height])


def _take(world: World, name: str) -> Command | None:
    """The command that gets `name` into the hand; None when it is there."""
    if world.held == name:
        return None
    if not world.open:
        return Command(world.hand + [0, 0, 0.015], 0.0, True)
    target = world.position(name)
    target[2] = max(target[2], 0.014)
    away = world.hand - target
    close = bool(np.hypot(*away[:2]) < CLOSE[0] and away[2] < CLOSE[1])
    return Command(target if close else _funnel(world, target), 0.0, not close)


@dataclass
class Lift:
    """Raise a prop well above the table."""

    prop: str
    height: float = 0.085

    def begin(self, world: World) -> None:
        pass

    def done(self, world: World) -> bool:
        return world.held == self.prop and world.position(self.prop)[2] > self.height

    def act(self, world: World) -> Command:
        return _take(world, self.prop) or Command(world.hand + [0, 0, 0.06], 0.0, False)


@dataclass
class Push:
    """Move a prop along the table by at least `distance` metres; direction -1 is left, 1 right."""

    prop: str
    direction: int
    distance: float = 0.07
    start: float = field(default=0.0, init=False)

    def begin(self, world: World) -> None:
        self.start = float(world.position(self.prop)[0])

    def done(self, world: World) -> bool:
        x, _, z = world.position(self.prop)
        return bool((x - self.start) * self.direction > self.distance and z < PROPS[self.prop].height + 0.03)

    def act(self, world: World) -> Command:
        take = _take(world, self.prop)
        if take:
            return take
        low = PROPS[self.prop].height + 0.004
        ahead = world.hand + [0.06 * self.direction, 0, 0]
        return Command(np.array([ahead[0], ahead[1], low]), float(world.rotation[2]), False)


@dataclass
class Rotate:
    """Turn a prop by at least 60 degrees; direction -1 is right (clockwise), 1 left, seen from above."""

    prop: str
    direction: int
    angle: float = np.pi / 3
    start: float = field(default=0.0, init=False)

    def begin(self, world: World) -> None:
        self.start = world.yaw(self.prop)

    def done(self, world: World) -> bool:
        turned = (world.yaw(self.prop) - self.start + np.pi) % (2 * np.pi) - np.pi
        return bool(turned * self.direction > self.angle)

    def act(self, world: World) -> Command:
        take = _take(world, self.prop)
        if take:
            return take
        at = world.hand.copy()
        at[2] = 0.055
        return Command(at, float(world.rotation[2]) + self.direction, False)


@dataclass
class Articulate:
    """Move a drawer, slider or switch to q = `goal` (0 or 1) by its handle."""

    fixture: str
    goal: float
    tolerance: float = 0.25

    def begin(self, world: World) -> None:
        pass

    def done(self, world: World) -> bool:
        return abs(world.q[self.fixture] - self.goal) < self.tolerance

    def act(self, world: World) -> Command:
        take = _take(world, self.fixture)
        if take:
            return take
        from vlm4vla.benchmarks.scene import STROKES

        axis, stroke = STROKES[self.fixture]
        rest = np.asarray(axis) * stroke * (self.goal - world.q[self.fixture])
        return Command(world.hand + rest + np.sign(rest) * 0.01, 0.0, False)


@dataclass
class Press:
    """Press the button until its light is `on`."""

    on: bool

    def begin(self, world: World) -> None:
        pass

    def done(self, world: World) -> bool:
        return world.lit["led"] == self.on

    def act(self, world: World) -> Command:
        if world.held is not None:
            return Command(world.hand + [0, 0, 0.015], 0.0, True)
        target = world.fixtures["button"] + [0, 0, 0.024]
        if world._pressing:  # already down without the wanted light: come up first
            return Command(world.hand + [0, 0, 0.05], 0.0, True)
        return Command(_funnel(world, target), 0.0, True)


@dataclass
class Place:
    """Put a prop on or in something and let go.

    `onto` is a prop, or "drawer". `beside` shifts the goal, `aim` only where the expert lets go (m), so
    that two things fit into one basket.
    """

    prop: str
    onto: str
    beside: tuple[float, float] = (0.0, 0.0)
    aim: tuple[float, float] = (0.0, 0.0)

    def begin(self, world: World) -> None:
        pass

    def goal(self, world: World) -> np.ndarray:
        """(3,) m: where the prop's centre should come to rest."""
        mine = PROPS[self.prop].height
        if self.onto == "drawer":
            return world.drawer_centre() + [0, 0, mine]
        under = PROPS[self.onto]
        if under.movable:  # stacking
            return world.position(self.onto) + [0, 0, under.height + mine]
        rest = 0.0 if any(self.beside) else under.surface
        return world.position(self.onto) + [*self.beside, rest + mine]

    def done(self, world: World) -> bool:
        if world.held == self.prop:
            return False
        if self.onto == "drawer":
            return world.inside_drawer(self.prop)
        away = world.position(self.prop) - self.goal(world)
        under = PROPS[self.onto]
        reach = 0.035 if under.movable else under.reach
        return bool(np.hypot(*away[:2]) < reach and abs(away[2]) < 0.025)

    def act(self, world: World) -> Command:
        take = _take(world, self.prop)
        if take:
            return take
        goal = self.goal(world) + [*self.aim, 0.012]
        away = world.hand - goal
        stacking = self.onto in PROPS and PROPS[self.onto].movable
        flat, height = RELEASE_ON_BLOCK if stacking else RELEASE
        if np.hypot(*away[:2]) < flat and away[2] < height:
            return Command(world.hand, 0.0, True)
        if stacking and np.hypot(*away[:2]) > 0.07 and away[2] < 0.02:  # over the other block, not into it
            return Command(np.array([*world.hand[:2], goal[2] + 0.04]), 0.0, False)
        return Command(_funnel(world, goal, 0.02), 0.0, False)


def limited(world: World, command: Command, speed: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """A command as motion (3,) m and rotation (3,) rad of one step, at most `speed` m and `turn` rad.

    Far away the hand moves at full speed, near the target at a share of the way, so that it arrives smoothly.
    """
    way = 0.75 * (command.target - world.hand)
    length = float(np.linalg.norm(way))
    motion = way if length <= speed else way * speed / length
    wanted = np.array([0.0, 0.0, command.yaw]) - world.rotation
    return motion, np.clip(wanted, -turn, turn)
