"""RoboPoint: points in the picture that satisfy a description, as a list of normalised coordinates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.points import point_fault, points_score, write_points
from vlm4vla.auxiliary.tasks.scenes import scenes, things
from vlm4vla.benchmarks.props import PROPS
from vlm4vla.data.questions.statements import Picture

APART = 0.06  # of the picture's width: nearer than this a thing is neither left nor right of another


class RoboPoint(Task):
    name = "robopoint"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return scenes(self.name, ask, split, count, seed, image_size)

    def fault(self, answer: str) -> str | None:
        return point_fault(answer)

    def score(self, answer: str, truth: str) -> float:
        return points_score(answer, truth)


def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
    """Every thing of a kind, one thing by its name, and what lies on one side of another."""
    places = {name: picture.places[name] for name in things(picture)}
    said = [(f"point to the {name}", write_points([at])) for name, at in places.items()]
    nouns = sorted({PROPS[name].noun for name in places if name in PROPS})
    for noun in nouns:
        same = [at for name, at in places.items() if name in PROPS and PROPS[name].noun == noun]
        said.append((f"point to every {noun}", write_points(same)))
    for name, (column, _) in places.items():
        side = "left" if rng.random() < 0.5 else "right"
        sign = -1 if side == "left" else 1
        found = [at for other, at in places.items() if other != name and sign * (at[0] - column) > APART]
        if found:
            said.append((f"point to what is {side} of the {name}", write_points(found)))
    return said
