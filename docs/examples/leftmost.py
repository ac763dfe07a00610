"""Leftmost: which thing in a picture is farthest to one side. An auxiliary task in one file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.scenes import scenes, things
from vlm4vla.data.questions.statements import Picture
from vlm4vla.extensions import auxiliary_task

APART = 0.05  # of the picture's width: where the first two are nearer than this, nothing is asked


@auxiliary_task
class Leftmost(Task):
    name = "leftmost"
    statements_a_picture = 2.0

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return scenes(self.name, ask, split, count, seed, image_size)


def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
    """Questions with their answers about one picture; none where there is no clear answer."""
    order = sorted(things(picture), key=lambda name: picture.places[name][0])
    said = []
    for side, names in (("leftmost", order), ("rightmost", order[::-1])):
        if len(names) > 1 and abs(picture.places[names[0]][0] - picture.places[names[1]][0]) > APART:
            said.append((f"what is {side} ?", names[0]))
    return said
