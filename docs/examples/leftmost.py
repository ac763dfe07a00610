"""Leftmost: which object in a picture is farthest to one side. An auxiliary task in one file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.extensions import AuxiliaryTask, Picture, auxiliary_task, scenes, things

APART = 0.05  # share of the picture's width; if the first two objects are closer, no question is asked


@auxiliary_task
class Leftmost(AuxiliaryTask):
    name = "leftmost"
    statements_a_picture = 2.0

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return scenes(self.name, ask, split, count, seed, image_size)


def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
    """Return questions about one picture with their answers; only questions with a clear answer."""
    order = sorted(things(picture), key=lambda name: picture.places[name][0])
    said = []
    for side, names in (("leftmost", order), ("rightmost", order[::-1])):
        if len(names) > 1 and abs(picture.places[names[0]][0] - picture.places[names[1]][0]) > APART:
            said.append((f"what is {side} ?", names[0]))
    return said
