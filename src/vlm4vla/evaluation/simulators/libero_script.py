"""A script for those LIBERO-10 tasks that only consist of putting objects into a basket.

The script moves the end effector in proportion to the distance to the next target. The fingers point down, as
at the start of an episode. The target of a phase is read from the simulator's object positions when the phase
begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

GAIN = 10.0  # action per metre; an action of 1 is the controller's largest step
OPEN, CLOSED = -1.0, 1.0
ABOVE = 0.25  # metres over an object before the gripper descends: higher than the tallest carton
CARRIED = 0.30  # metres over the body of the basket, while an object is carried
DROPPED = 0.14  # metres over the body of the basket, when an object is released
NEAR = 0.012  # metres from the target at which it counts as reached
GRIP_STEPS, RELEASE_STEPS = 15, 12
MAX_STEPS = 60  # steps towards one target

Observation = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Item:
    """An object, by the name of its body. `grip`: offset in x and y from the body to the grip, in metres."""

    name: str
    grip: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class BasketTask:
    """A LIBERO-10 task that puts `items` into a basket. `number`: the task's index in LIBERO-10."""

    number: int
    items: tuple[Item, ...]
    basket: str = "basket_1"


TASKS = {
    task.number: task
    for task in (
        BasketTask(0, (Item("alphabet_soup_1"), Item("tomato_sauce_1"))),
        # The box is gripped at its far end, because a centred gripper would hit the milk next to it.
        BasketTask(1, (Item("cream_cheese_1", (0.02, 0.0)), Item("butter_1"))),
        BasketTask(7, (Item("alphabet_soup_1"), Item("cream_cheese_1"))),
    )
}


@dataclass(frozen=True)
class Phase:
    """Move towards a target and hold the gripper command `fingers`.

    `target` computes the target (3,) from the observation at the beginning of the phase. The phase ends when
    the target is reached or after `steps` steps; with `wait`, only after `steps` steps.
    """

    target: Callable[[Observation], np.ndarray]
    fingers: float
    steps: int = MAX_STEPS
    wait: bool = False


def phases(task: BasketTask) -> Iterator[Phase]:
    """The phases of a task, in order."""
    for index, item in enumerate(task.items):
        aside = np.array([0.0, 0.03 * (2 * index - 1), 0.0])  # keeps the second object off the first
        grip = np.array([*item.grip, 0.0])
        yield Phase(_over(item.name, ABOVE, grip), OPEN)
        yield Phase(_over(item.name, 0.0, grip), OPEN)
        yield Phase(_over(item.name, 0.0, grip), CLOSED, GRIP_STEPS, wait=True)
        yield Phase(_raised(task.basket, CARRIED), CLOSED)
        yield Phase(_over(task.basket, CARRIED, aside), CLOSED)
        yield Phase(_over(task.basket, DROPPED, aside), CLOSED)
        yield Phase(_current_position, OPEN, RELEASE_STEPS, wait=True)
        yield Phase(_raised(task.basket, CARRIED), OPEN)


def _over(body: str, height: float, aside: np.ndarray | None = None) -> Callable[[Observation], np.ndarray]:
    """`height` metres over `body`, shifted by `aside` (3,)."""
    offset = np.array([0.0, 0.0, height]) + (0.0 if aside is None else aside)
    return lambda observation: observation[f"{body}_pos"] + offset


def _raised(body: str, height: float) -> Callable[[Observation], np.ndarray]:
    """Straight up from the end effector's position, to `height` metres over `body`."""
    return lambda observation: np.array(
        [*observation["robot0_eef_pos"][:2], observation[f"{body}_pos"][2] + height]
    )


def _current_position(observation: Observation) -> np.ndarray:
    return observation["robot0_eef_pos"].copy()


class BasketScript:
    """Computes the actions of one episode of `task`. Call it with the observation of each step."""

    def __init__(self, task: BasketTask):
        self._phases = phases(task)
        self._phase: Phase | None = None
        self._target = np.zeros(3)
        self._steps_left = 0

    def __call__(self, observation: Observation) -> np.ndarray | None:
        """The action (7,) float32: motion, no rotation, gripper. None when the script has ended."""
        if self._phase is None or self._is_over(self._phase, observation):
            self._phase = next(self._phases, None)
            if self._phase is None:
                return None
            self._target, self._steps_left = self._phase.target(observation), self._phase.steps
        self._steps_left -= 1
        motion = np.clip(GAIN * (self._target - observation["robot0_eef_pos"]), -1, 1)
        return np.array([*motion, 0, 0, 0, self._phase.fingers], dtype=np.float32)

    def _is_over(self, phase: Phase, observation: Observation) -> bool:
        near = float(np.linalg.norm(self._target - observation["robot0_eef_pos"])) < NEAR
        return self._steps_left <= 0 or (near and not phase.wait)
