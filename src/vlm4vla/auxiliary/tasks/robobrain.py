"""RoboBrain 2: pointing, planning and trajectory marking.

In the paper this row is a released checkpoint and no training step: `auxiliary.tasks.robobrain2.checkpoint`
says which. Without it a backbone learns the three kinds of answer from
demonstrations: the image point of a thing, the sub-tasks still to do in their order, and the gripper's next
places as image points.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.frames import Frame, frames
from vlm4vla.auxiliary.tasks.points import point_fault, points_score
from vlm4vla.data.questions.points import point
from vlm4vla.data.questions.statements import Picture

AHEAD = (2, 4, 6)  # steps after the frame at which the gripper's place is marked
THEN = " then "


class RoboBrain(Task):
    name = "robobrain2"
    statements_a_picture = 2.0

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return frames(self.name, ask, split, count, seed, image_size, ("libero-10", "bridge"))

    def fault(self, answer: str) -> str | None:
        return point_fault(answer)

    def score(self, answer: str, truth: str) -> float:
        """Points by F1, plans to the letter."""
        return points_score(answer, truth) if truth.startswith("<x") else float(answer == truth)


def inside(place: tuple[float, float]) -> bool:
    return 0 <= place[0] < 1 and 0 <= place[1] < 1


def ask(rng: np.random.Generator, frame: Frame) -> list[tuple[str, str]]:
    said = [
        (f"point to the {name}", point(at))
        for name, at in frame.places.items()
        if name != "gripper" and inside(at)
    ]
    if frame.parts:
        said.append((f"what is to do to {frame.instruction} ?", THEN.join(frame.parts)))
    later = [frame.later(steps) for steps in AHEAD]
    path = [each.places["gripper"] for each in later if each is not None]
    if len(path) == len(AHEAD) and all(map(inside, path)):
        said.append((f"mark the way to {frame.instruction}", " ".join(point(place) for place in path)))
    return said
