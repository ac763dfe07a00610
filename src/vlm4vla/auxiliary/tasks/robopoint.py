"""RoboPoint: the points of an image that satisfy a description, as a list of normalised coordinates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.points import point_words_error, point_words_score, write_point_words
from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.auxiliary.tasks.pictures import scenes, things
from vlm4vla.benchmarks.props import PROPS
from vlm4vla.data.questions.statements import Picture

APART = 0.06  # share of the image's width; things nearer than this are neither left nor right of each other


class RoboPoint(AuxiliaryTask):
    name = "robopoint"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return scenes(self.name, ask, split, count, seed, image_size)

    def fault(self, answer: str) -> str | None:
        return point_words_error(answer)

    def score(self, answer: str, truth: str) -> float:
        return point_words_score(answer, truth)


def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
    """Ask for every thing of a kind, for each thing by name, and for the things to one side of another."""
    places = {name: picture.places[name] for name in things(picture)}
    questions = [(f"point to the {name}", write_point_words([at])) for name, at in places.items()]
    nouns = sorted({PROPS[name].noun for name in places if name in PROPS})
    for noun in nouns:
        same = [at for name, at in places.items() if name in PROPS and PROPS[name].noun == noun]
        questions.append((f"point to every {noun}", write_point_words(same)))
    for name, (column, _) in places.items():
        side = "left" if rng.random() < 0.5 else "right"
        sign = -1 if side == "left" else 1
        found = [at for other, at in places.items() if other != name and sign * (at[0] - column) > APART]
        if found:
            questions.append((f"point to what is {side} of the {name}", write_point_words(found)))
    return questions
