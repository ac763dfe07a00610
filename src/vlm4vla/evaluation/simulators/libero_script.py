"""A script for most tasks of LIBERO-10, which picks and places objects, turns a knob and pushes a drawer.

The script moves the end effector in proportion to the distance to the next target, and turns it about the
vertical axis. The fingers point down, as at the start of an episode. The target of a phase is computed from
the positions in the simulator when the phase begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

GAIN = 10.0  # action per metre; an action of 1 is the controller's largest step
TURN_GAIN = 2.0  # action per radian
OPEN, CLOSED = -1.0, 1.0
ABOVE = 0.25  # metres over an object before the gripper descends: higher than the tallest carton
NEAR = 0.012  # metres from the target at which it counts as reached
ALIGNED = 0.05  # radians from the target's turn at which it counts as reached
GRIP_STEPS, RELEASE_STEPS = 15, 12
MAX_STEPS = 60  # steps towards one target
QUARTER = math.pi / 2  # the fingers then open along x; without a turn, along y

Observation = Mapping[str, np.ndarray]
Offset = tuple[float, float, float]


@dataclass(frozen=True)
class Phase:
    """Move towards a target and hold the gripper command `fingers`.

    `target` computes the target (3,) from the observation at the beginning of the phase. `turn`: radians from
    the gripper's turn at the start of an episode. The phase ends when the target is reached or after `steps`
    steps; with `wait`, only after `steps` steps.
    """

    target: Callable[[Observation], np.ndarray]
    fingers: float
    turn: float = 0.0
    steps: int = MAX_STEPS
    wait: bool = False


@dataclass(frozen=True)
class Placing:
    """Pick `item` up and put it down.

    `item` and `goal`: names of bodies or sites. `grip`: offset from the item to the gripper when it closes.
    `put`: offset from the goal to the gripper when it opens. `carried`: metres over the goal while the item is
    carried. `turn` and `put_turn`: turn of the gripper, in radians, when it closes and when it opens.
    """

    item: str
    goal: str
    put: Offset
    grip: Offset = (0.0, 0.0, 0.0)
    carried: float = 0.30
    turn: float = 0.0
    put_turn: float | None = None

    def phases(self) -> Iterator[Phase]:
        turn, put_turn = self.turn, self.turn if self.put_turn is None else self.put_turn
        yield Phase(_over(self.item, (*self.grip[:2], ABOVE)), OPEN, turn)
        yield Phase(_over(self.item, self.grip), OPEN, turn)
        yield Phase(_over(self.item, self.grip), CLOSED, turn, GRIP_STEPS, wait=True)
        yield Phase(_raised(self.goal, self.carried), CLOSED, turn)
        yield Phase(_over(self.goal, (*self.put[:2], self.carried)), CLOSED, put_turn)
        yield Phase(_over(self.goal, self.put), CLOSED, put_turn)
        yield Phase(_current_position, OPEN, put_turn, RELEASE_STEPS, wait=True)
        yield Phase(_raised(self.goal, self.carried), OPEN, put_turn)


@dataclass(frozen=True)
class Turning:
    """Grip the knob `item` at the offset `grip`, and turn it by `angle` radians."""

    item: str
    grip: Offset
    angle: float

    def phases(self) -> Iterator[Phase]:
        yield Phase(_over(self.item, (*self.grip[:2], ABOVE)), OPEN)
        yield Phase(_over(self.item, self.grip), OPEN)
        yield Phase(_over(self.item, self.grip), CLOSED, 0.0, GRIP_STEPS, wait=True)
        yield Phase(_over(self.item, self.grip), CLOSED, self.angle)
        yield Phase(_current_position, OPEN, self.angle, RELEASE_STEPS, wait=True)
        yield Phase(_raised(self.item, ABOVE), OPEN, self.angle)


@dataclass(frozen=True)
class Pushing:
    """Push `item` with closed fingers, from the offset `start` by `way`, both in metres."""

    item: str
    start: Offset
    way: Offset

    def phases(self) -> Iterator[Phase]:
        yield Phase(_over(self.item, (*self.start[:2], ABOVE)), CLOSED)
        yield Phase(_over(self.item, self.start), CLOSED)
        yield Phase(_moved(self.way), CLOSED)


@dataclass(frozen=True)
class ScriptedTask:
    """A LIBERO-10 task as a sequence of skills. `number`: the task's index in LIBERO-10."""

    number: int
    skills: tuple[Placing | Turning | Pushing, ...]

    def phases(self) -> Iterator[Phase]:
        for skill in self.skills:
            yield from skill.phases()


def _basket(first: str, second: str, first_grip: Offset = (0.0, 0.0, 0.0)) -> tuple[Placing, Placing]:
    """Put two objects into the basket side by side, so that the second does not fall onto the first."""
    return (
        Placing(first, "basket_1", (0.0, -0.03, 0.14), first_grip),
        Placing(second, "basket_1", (0.0, 0.03, 0.14)),
    )


# Mugs are gripped at the wall opposite to the handle.
WHITE_MUG = {"item": "porcelain_mug_1", "grip": (0.0, -0.052, 0.09)}
YELLOW_MUG = {"item": "white_yellow_mug_1", "grip": (0.0, 0.06, 0.085)}

TASKS = {
    task.number: task
    for task in (
        ScriptedTask(0, _basket("alphabet_soup_1", "tomato_sauce_1")),
        # The box is gripped at its far end, because a centred gripper would hit the milk next to it.
        ScriptedTask(1, _basket("cream_cheese_1", "butter_1", (0.02, 0.0, 0.0))),
        ScriptedTask(
            2,
            (
                Turning("flat_stove_1_button", (0.0, 0.0, 0.035), 1.2),
                Placing("moka_pot_1", "flat_stove_1_cook_region", (0.0, 0.0, 0.17), (0.0, 0.0, 0.08)),
            ),
        ),
        ScriptedTask(
            3,
            (
                Placing(
                    "akita_black_bowl_1",
                    "white_cabinet_1_cabinet_bottom",
                    (0.05, 0.0, 0.08),
                    (0.05, 0.0, 0.04),
                    turn=QUARTER,
                ),
                Pushing("white_cabinet_1_cabinet_bottom", (0.0, -0.16, 0.045), (0.0, 0.22, 0.0)),
            ),
        ),
        ScriptedTask(
            4,
            (
                Placing(**WHITE_MUG, goal="plate_1", put=(0.0, -0.052, 0.105)),
                Placing(**YELLOW_MUG, goal="plate_2", put=(0.0, 0.06, 0.10)),
            ),
        ),
        ScriptedTask(
            6,
            (
                Placing(**WHITE_MUG, goal="plate_1", put=(0.0, -0.052, 0.105)),
                Placing("chocolate_pudding_1", "living_room_table_plate_right_region", (0.0, 0.02, 0.045)),
            ),
        ),
        ScriptedTask(7, _basket("alphabet_soup_1", "cream_cheese_1")),
        ScriptedTask(
            8,
            (
                Placing("moka_pot_1", "flat_stove_1_cook_region", (-0.045, 0.0, 0.17), (0.0, 0.0, 0.08)),
                Placing("moka_pot_2", "flat_stove_1_cook_region", (0.045, 0.0, 0.17), (0.0, 0.0, 0.08)),
            ),
        ),
    )
}


def _over(name: str, offset: Offset) -> Callable[[Observation], np.ndarray]:
    """The position of `name`, shifted by `offset`."""
    return lambda observation: observation[f"{name}_pos"] + np.array(offset)


def _raised(name: str, height: float) -> Callable[[Observation], np.ndarray]:
    """Straight up from the end effector's position, to `height` metres over `name`."""
    return lambda observation: np.array(
        [*observation["robot0_eef_pos"][:2], observation[f"{name}_pos"][2] + height]
    )


def _moved(way: Offset) -> Callable[[Observation], np.ndarray]:
    """The end effector's position, shifted by `way`."""
    return lambda observation: observation["robot0_eef_pos"] + np.array(way)


def _current_position(observation: Observation) -> np.ndarray:
    return observation["robot0_eef_pos"].copy()


def turn_of(observation: Observation) -> float:
    """The turn of the gripper about the vertical axis, in radians; about 0 at the start of an episode."""
    x, y, z, w = observation["robot0_eef_quat"]
    return math.atan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))


class TaskScript:
    """Computes the actions of one episode of `task`. Call it with the observation of each step."""

    def __init__(self, task: ScriptedTask):
        self._phases = task.phases()
        self._phase: Phase | None = None
        self._target = np.zeros(3)
        self._steps_left = 0

    def __call__(self, observation: Observation) -> np.ndarray | None:
        """The action (7,) float32: motion, turn, gripper. None when the script has ended."""
        if self._phase is None or self._is_over(self._phase, observation):
            self._phase = next(self._phases, None)
            if self._phase is None:
                return None
            self._target, self._steps_left = self._phase.target(observation), self._phase.steps
        self._steps_left -= 1
        motion = np.clip(GAIN * (self._target - observation["robot0_eef_pos"]), -1, 1)
        turn = np.clip(TURN_GAIN * (self._phase.turn - turn_of(observation)), -1, 1)
        return np.array([*motion, 0, 0, turn, self._phase.fingers], dtype=np.float32)

    def _is_over(self, phase: Phase, observation: Observation) -> bool:
        near = float(np.linalg.norm(self._target - observation["robot0_eef_pos"])) < NEAR
        aligned = abs(phase.turn - turn_of(observation)) < ALIGNED
        return self._steps_left <= 0 or (near and aligned and not phase.wait)
