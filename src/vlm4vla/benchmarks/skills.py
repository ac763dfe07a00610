"""Skills: the goals of instructions, each with a scripted expert that reaches the goal.

A skill decides whether it is done and what the expert does next. The expert depends on the present state
only, like a policy without memory. It approaches along a funnel, closes the fingers at the target, carries,
and opens. After a disturbance it starts again from the new state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.scene import STROKES
from vlm4vla.benchmarks.world import World

TRAVEL = 0.11  # height (m) at which things are carried
# Largest horizontal and vertical distance (m) to the target at which the expert closes its fingers.
CLOSE = (0.045, 0.070)
RELEASE = (0.030, 0.040)  # the same distances to the goal at which the expert opens its fingers
RELEASE_ON_BLOCK = (0.012, 0.012)  # smaller for stacking, because a misaligned block falls off


@dataclass(frozen=True)
class HandCommand:
    """The target of the hand: position (3,) in metres, yaw in radians, and whether the fingers are open."""

    target: np.ndarray
    yaw: float
    open: bool


class Skill(Protocol):
    """The goal of an instruction, or of a part of one, and the expert for it."""

    def begin(self, world: World) -> None:
        """Called once when the instruction starts. Some skills store the initial state here."""

    def done(self, world: World) -> bool:
        """Return whether the goal is reached."""
        ...

    def act(self, world: World) -> HandCommand:
        """Return the expert's next command."""
        ...


def _approach(world: World, target: np.ndarray, floor: float = 0.012) -> np.ndarray:
    """Return the next point on the way down to `target`.

    The height decreases with the horizontal distance, so that the hand comes from above and does not hit
    other things.
    """
    distance = float(np.hypot(*(target - world.hand)[:2]))
    height = target[2] + np.clip(1.6 * (distance - floor), 0.0, max(TRAVEL - target[2], 0.03))
    return np.array([target[0], target[1], height])


def _grasp(world: World, name: str) -> HandCommand | None:
    """Return the next command to grasp `name`, or None if the hand holds it."""
    if world.held == name:
        return None
    if not world.open:
        return HandCommand(world.hand + [0, 0, 0.015], 0.0, True)
    target = world.position(name)
    target[2] = max(target[2], 0.014)
    away = world.hand - target
    close = bool(np.hypot(*away[:2]) < CLOSE[0] and away[2] < CLOSE[1])
    return HandCommand(target if close else _approach(world, target), 0.0, not close)


@dataclass
class Lift:
    """Raise a prop well above the table."""

    prop: str
    height: float = 0.085

    def begin(self, world: World) -> None:
        pass

    def done(self, world: World) -> bool:
        return world.held == self.prop and world.position(self.prop)[2] > self.height

    def act(self, world: World) -> HandCommand:
        return _grasp(world, self.prop) or HandCommand(world.hand + [0, 0, 0.06], 0.0, False)


@dataclass
class Push:
    """Move a prop along the table by at least `distance` metres. Direction: -1 is left, 1 is right."""

    prop: str
    direction: int
    distance: float = 0.07
    start: float = field(default=0.0, init=False)

    def begin(self, world: World) -> None:
        self.start = float(world.position(self.prop)[0])

    def done(self, world: World) -> bool:
        x, _, z = world.position(self.prop)
        return bool((x - self.start) * self.direction > self.distance and z < PROPS[self.prop].height + 0.03)

    def act(self, world: World) -> HandCommand:
        grasp = _grasp(world, self.prop)
        if grasp:
            return grasp
        low = PROPS[self.prop].height + 0.004
        ahead = world.hand + [0.06 * self.direction, 0, 0]
        return HandCommand(np.array([ahead[0], ahead[1], low]), float(world.rotation[2]), False)


@dataclass
class Rotate:
    """Turn a prop by at least 60 degrees. Direction, seen from above: -1 is right (clockwise), 1 is left."""

    prop: str
    direction: int
    angle: float = np.pi / 3
    start: float = field(default=0.0, init=False)

    def begin(self, world: World) -> None:
        self.start = world.yaw(self.prop)

    def done(self, world: World) -> bool:
        turned = (world.yaw(self.prop) - self.start + np.pi) % (2 * np.pi) - np.pi
        return bool(turned * self.direction > self.angle)

    def act(self, world: World) -> HandCommand:
        grasp = _grasp(world, self.prop)
        if grasp:
            return grasp
        at = world.hand.copy()
        at[2] = 0.055
        return HandCommand(at, float(world.rotation[2]) + self.direction, False)


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

    def act(self, world: World) -> HandCommand:
        grasp = _grasp(world, self.fixture)
        if grasp:
            return grasp
        axis, stroke = STROKES[self.fixture]
        rest = np.asarray(axis) * stroke * (self.goal - world.q[self.fixture])
        return HandCommand(world.hand + rest + np.sign(rest) * 0.01, 0.0, False)


@dataclass
class Press:
    """Press the button until its light is on, or off if `on` is false."""

    on: bool

    def begin(self, world: World) -> None:
        pass

    def done(self, world: World) -> bool:
        return world.lit["led"] == self.on

    def act(self, world: World) -> HandCommand:
        if world.held is not None:
            return HandCommand(world.hand + [0, 0, 0.015], 0.0, True)
        target = world.fixtures["button"] + [0, 0, 0.024]
        if world._pressing:  # the light is still wrong: raise the hand first
            return HandCommand(world.hand + [0, 0, 0.05], 0.0, True)
        return HandCommand(_approach(world, target), 0.0, True)


@dataclass
class Place:
    """Put a prop on or in something and let go.

    `onto` is a prop, or "drawer". `beside` shifts the goal, in metres. `aim` shifts only the point where the
    expert lets go, in metres, so that two things fit into one basket.
    """

    prop: str
    onto: str
    beside: tuple[float, float] = (0.0, 0.0)
    aim: tuple[float, float] = (0.0, 0.0)

    def begin(self, world: World) -> None:
        pass

    def goal(self, world: World) -> np.ndarray:
        """Return the position (3,) in metres at which the prop's centre should come to rest."""
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

    def act(self, world: World) -> HandCommand:
        grasp = _grasp(world, self.prop)
        if grasp:
            return grasp
        goal = self.goal(world) + [*self.aim, 0.012]
        away = world.hand - goal
        stacking = self.onto in PROPS and PROPS[self.onto].movable
        flat, height = RELEASE_ON_BLOCK if stacking else RELEASE
        if np.hypot(*away[:2]) < flat and away[2] < height:
            return HandCommand(world.hand, 0.0, True)
        if stacking and np.hypot(*away[:2]) > 0.07 and away[2] < 0.02:  # move above the other block first
            return HandCommand(np.array([*world.hand[:2], goal[2] + 0.04]), 0.0, False)
        return HandCommand(_approach(world, goal, 0.02), 0.0, False)


def limit_motion(
    world: World, command: HandCommand, speed: float, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """Convert a command to the motion (3,) in metres and the rotation (3,) in radians of one step.

    They are at most `speed` metres and `turn` radians. Far from the target the hand moves at full speed. Near
    the target each step covers a share of the remaining way, so that the hand arrives smoothly.
    """
    way = 0.75 * (command.target - world.hand)
    length = float(np.linalg.norm(way))
    motion = way if length <= speed else way * speed / length
    wanted = np.array([0.0, 0.0, command.yaw]) - world.rotation
    return motion, np.clip(wanted, -turn, turn)
