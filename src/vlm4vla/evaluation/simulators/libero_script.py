"""A scripted pick-and-place for those LIBERO-10 tasks that are nothing else.

It steers the end effector in proportion to the distance to the next point, with the fingers pointing down as
they start. Points are read from the simulator's object positions when a phase begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

GAIN = 10.0  # action per metre; 1 is the controller's largest step
OPEN, CLOSED = -1.0, 1.0
ABOVE = 0.25  # metres over a thing before the hand comes down: over the tallest carton
CARRIED = 0.30  # metres over the basket's body
DROPPED = 0.14
NEAR = 0.012  # metres: a point is reached
GRIP_STEPS, RELEASE_STEPS = 15, 12
PATIENCE = 60  # steps towards one point

Seen = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Thing:
    """A thing, by the name of its body, and where it is gripped: metres in x and y from the body."""

    name: str
    grip: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Task:
    """Things to put into a basket."""

    number: int
    things: tuple[Thing, ...]
    basket: str = "basket_1"


TASKS = {
    task.number: task
    for task in (
        Task(0, (Thing("alphabet_soup_1"), Thing("tomato_sauce_1"))),
        # the box at its far end: the hand would come down on the milk beside it
        Task(1, (Thing("cream_cheese_1", (0.02, 0.0)), Thing("butter_1"))),
        Task(7, (Thing("alphabet_soup_1"), Thing("cream_cheese_1"))),
    )
}


@dataclass(frozen=True)
class Phase:
    """Go to `point` (of what is seen when the phase begins) and hold the fingers `fingers`.

    It ends when the point is reached, or after `steps`; with `wait` only after `steps`.
    """

    point: Callable[[Seen], np.ndarray]
    fingers: float
    steps: int = PATIENCE
    wait: bool = False


def phases(task: Task) -> Iterator[Phase]:
    """The phases of a task, in order."""
    for index, thing in enumerate(task.things):
        aside = np.array([0.0, 0.03 * (2 * index - 1), 0.0])  # so that the second does not land on the first
        grip = np.array([*thing.grip, 0.0])
        yield Phase(_over(thing.name, ABOVE, grip), OPEN)
        yield Phase(_over(thing.name, 0.0, grip), OPEN)
        yield Phase(_over(thing.name, 0.0, grip), CLOSED, GRIP_STEPS, wait=True)
        yield Phase(_raised(task.basket, CARRIED), CLOSED)
        yield Phase(_over(task.basket, CARRIED, aside), CLOSED)
        yield Phase(_over(task.basket, DROPPED, aside), CLOSED)
        yield Phase(_here, OPEN, RELEASE_STEPS, wait=True)
        yield Phase(_raised(task.basket, CARRIED), OPEN)


def _over(thing: str, height: float, aside: np.ndarray | None = None) -> Callable[[Seen], np.ndarray]:
    offset = np.array([0.0, 0.0, height]) + (0.0 if aside is None else aside)
    return lambda seen: seen[f"{thing}_pos"] + offset


def _raised(thing: str, height: float) -> Callable[[Seen], np.ndarray]:
    """Straight up from where the hand is, to `height` metres over `thing`."""
    return lambda seen: np.array([*seen["robot0_eef_pos"][:2], seen[f"{thing}_pos"][2] + height])


def _here(seen: Seen) -> np.ndarray:
    return seen["robot0_eef_pos"].copy()


class Script:
    """Actions for one episode of `task`, one for what is seen at each step."""

    def __init__(self, task: Task):
        self._phases = phases(task)
        self._phase: Phase | None = None
        self._point = np.zeros(3)
        self._left = 0

    def __call__(self, seen: Seen) -> np.ndarray | None:
        """(7,) float32: motion, no rotation, fingers; None when the script is over."""
        if self._phase is None or self._is_over(self._phase, seen):
            self._phase = next(self._phases, None)
            if self._phase is None:
                return None
            self._point, self._left = self._phase.point(seen), self._phase.steps
        self._left -= 1
        motion = np.clip(GAIN * (self._point - seen["robot0_eef_pos"]), -1, 1)
        return np.array([*motion, 0, 0, 0, self._phase.fingers], dtype=np.float32)

    def _is_over(self, phase: Phase, seen: Seen) -> bool:
        near = float(np.linalg.norm(self._point - seen["robot0_eef_pos"])) < NEAR
        return self._left <= 0 or (near and not phase.wait)
