"""A script for most tasks of LIBERO-10, which picks and places objects and turns a knob.

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
ALIGNED = 0.1  # radians from the wanted turn at which it counts as reached
GRIP_STEPS, RELEASE_STEPS = 15, 12
MAX_STEPS = 60  # steps towards one target

Observation = Mapping[str, np.ndarray]
Offset = tuple[float, float, float]
Turn = float | Callable[[Observation], float]


@dataclass(frozen=True)
class Phase:
    """Move towards a target and hold the gripper command `fingers`.

    `target` computes the target (3,) from the observation at the beginning of the phase. `turn`: radians from
    the gripper's turn at the start of an episode, or what computes them at the beginning of the phase. The
    fingers open along y without a turn, and along x after a quarter. The phase ends when the target is
    reached or after `steps` steps; with `wait`, only after `steps` steps.
    """

    target: Callable[[Observation], np.ndarray]
    fingers: float
    turn: Turn = 0.0
    steps: int = MAX_STEPS
    wait: bool = False


@dataclass(frozen=True)
class Placing:
    """Pick `item` up and put it down.

    `item` and `goal`: names of bodies or sites. `grip`: offset from the item to the gripper when it closes.
    `put`: offset from the goal to the gripper when it opens. `carried`: metres over the goal while the item
    is carried. `turn` and `put_turn`: turn of the gripper when it closes and when it opens (see `Phase`).
    """

    item: str
    goal: str
    put: Offset
    grip: Offset = (0.0, 0.0, 0.0)
    carried: float = 0.30
    turn: Turn = 0.0
    put_turn: Turn | None = None

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
class ScriptedTask:
    """A LIBERO-10 task as a sequence of skills. `number`: the task's index in LIBERO-10."""

    number: int
    skills: tuple[Placing | Turning, ...]

    def phases(self) -> Iterator[Phase]:
        for skill in self.skills:
            yield from skill.phases()


def _over(name: str, offset: Offset) -> Callable[[Observation], np.ndarray]:
    """The position of `name`, shifted by `offset`."""
    return lambda observation: observation[f"{name}_pos"] + np.array(offset)


def _raised(name: str, height: float) -> Callable[[Observation], np.ndarray]:
    """Straight up from the end effector's position, to `height` metres over `name`."""
    return lambda observation: np.array(
        [*observation["robot0_eef_pos"][:2], observation[f"{name}_pos"][2] + height]
    )


def _current_position(observation: Observation) -> np.ndarray:
    return observation["robot0_eef_pos"].copy()


def _across(name: str) -> Callable[[Observation], float]:
    """The turn at which the fingers open along the x axis of `name`, between -90 and 90 degrees."""

    def turn(observation: Observation) -> float:
        x, y, z, w = observation[f"{name}_quat"]
        axis = math.atan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))
        return (axis % math.pi) - math.pi / 2

    return turn


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
            4,
            (
                Placing(**WHITE_MUG, goal="plate_1", put=(0.0, -0.052, 0.105)),
                Placing(**YELLOW_MUG, goal="plate_2", put=(0.0, 0.06, 0.10)),
            ),
        ),
        ScriptedTask(
            5,
            (
                Placing(
                    "black_book_1",
                    "desk_caddy_1_back_contain_region",
                    (0.0, -0.012, 0.12),
                    (0.0, 0.0, 0.11),
                    turn=_across("black_book_1"),
                    put_turn=-math.pi / 2,
                ),
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


def rotation_to(turn: float, quaternion: np.ndarray) -> np.ndarray:
    """The rotation (3,) in radians, about the axes of the world, that turns a gripper to point down.

    `quaternion` (4,): the gripper's, as x, y, z, w. `turn`: the wanted turn about the vertical axis. The
    length of the rotation is 2 sin(angle / 2), which is the angle if it is small.
    """
    x, y, z, w = (float(value) for value in quaternion)
    c, s = math.cos(turn / 2), math.sin(turn / 2)  # the wanted quaternion is (c, s, 0, 0)
    scalar = c * x + s * y
    vector = np.array([c * w - s * z, s * w + c * z, s * x - c * y])
    return 2 * math.copysign(1.0, scalar) * vector


class TaskScript:
    """Computes the actions of one episode of `task`. Call it with the observation of each step."""

    def __init__(self, task: ScriptedTask):
        self._phases = task.phases()
        self._phase: Phase | None = None
        self._target, self._turn = np.zeros(3), 0.0
        self._steps_left = 0

    def __call__(self, observation: Observation) -> np.ndarray | None:
        """The action (7,) float32: motion, turn, gripper. None when the script has ended."""
        if self._phase is None or self._is_over(self._phase, observation):
            self._phase = next(self._phases, None)
            if self._phase is None:
                return None
            turn = self._phase.turn
            self._turn = turn(observation) if callable(turn) else turn
            self._target, self._steps_left = self._phase.target(observation), self._phase.steps
        self._steps_left -= 1
        motion = np.clip(GAIN * (self._target - observation["robot0_eef_pos"]), -1, 1)
        rotation = TURN_GAIN * rotation_to(self._turn, observation["robot0_eef_quat"])
        return np.array([*motion, *np.clip(rotation, -1, 1), self._phase.fingers], dtype=np.float32)

    def _is_over(self, phase: Phase, observation: Observation) -> bool:
        near = float(np.linalg.norm(self._target - observation["robot0_eef_pos"])) < NEAR
        aligned = np.linalg.norm(rotation_to(self._turn, observation["robot0_eef_quat"])) < ALIGNED
        return self._steps_left <= 0 or (near and aligned and not phase.wait)
