"""RoboBrain 2: pointing, planning and trajectory marking.

In the paper this row is a released checkpoint, not a training step. `auxiliary.tasks.robobrain2.checkpoint`
names the checkpoint. Without one, a backbone learns three kinds of answers from demonstrations: the image
point of a thing, the remaining subtasks in order, and the gripper's next positions as image points.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.points import point_words_error, point_words_score
from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.auxiliary.tasks.pictures import Frame, frames
from vlm4vla.conventions.benchmarks import BRIDGE, LIBERO_10
from vlm4vla.data.questions.statements import Picture, point_words

AHEAD = (2, 4, 6)  # steps after the frame at which the gripper's position is marked
THEN = " then "


class RoboBrain(AuxiliaryTask):
    name = "robobrain2"
    statements_a_picture = 2.0

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return frames(self.name, ask, split, count, seed, image_size, (LIBERO_10.name, BRIDGE.name))

    def fault(self, answer: str) -> str | None:
        return point_words_error(answer)

    def score(self, answer: str, truth: str) -> float:
        """Score points by F1, and plans by an exact match."""
        return point_words_score(answer, truth) if truth.startswith("<x") else float(answer == truth)


def is_visible(place: tuple[float, float]) -> bool:
    """Return whether a position (column, row) is in the image."""
    return 0 <= place[0] < 1 and 0 <= place[1] < 1


def ask(rng: np.random.Generator, frame: Frame) -> list[tuple[str, str]]:
    """Ask for the point of each thing, for the remaining subtasks, and for the gripper's next positions."""
    questions = [
        (f"point to the {name}", point_words(at))
        for name, at in frame.places.items()
        if name != "gripper" and is_visible(at)
    ]
    if frame.subtasks:
        questions.append((f"what is to do to {frame.instruction} ?", THEN.join(frame.subtasks)))
    later = [frame.later(steps) for steps in AHEAD]
    path = [each.places["gripper"] for each in later if each is not None]
    if len(path) == len(AHEAD) and all(map(is_visible, path)):
        points = " ".join(point_words(place) for place in path)
        questions.append((f"mark the way to {frame.instruction}", points))
    return questions
