"""An auxiliary task that learns from public datasets; the form of the true answer decides the score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vlm4vla.auxiliary.points import decimal_points_error, is_decimal_points, points_f1, read_decimal_points
from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.data.questions.encoded_dataset import INFO
from vlm4vla.data.questions.statements import Picture

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# A capital letter on its own, but not the word "I", as in "I think B".
_LETTER = re.compile(r"\b(?!I(?: [a-z]|'))[A-Z]\b")
_CHOICE = re.compile(r"^([A-Z])\. ", re.MULTILINE)


def is_public(data: Path) -> bool:
    """Return whether a folder of data comes from public datasets."""
    return (data / INFO).is_file()


class PublicTask(AuxiliaryTask):
    """The task `name` on public datasets instead of generated questions."""

    def __init__(self, name: str):
        self.name = name

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        raise TypeError("public datasets are read, not generated: the stage auxiliary-data writes them")

    def fault(self, answer: str) -> str | None:
        return decimal_points_error(answer)

    def chance(self, question: str, truth: str) -> float:
        """Return the score of a random choice, or 0 if the question has no choices."""
        choices = _CHOICE.findall(question)
        return 1 / len(choices) if len(choices) > 1 and truth in choices else 0.0

    def score(self, answer: str, truth: str) -> float:
        """Return how correct an answer is, from 0 to 1.

        Points score their F1, and boxes count as points at their centres. If the truth is a letter, the first
        single capital letter of the answer must match. A number scores 1 - |error| / |truth|, at least 0. Any
        other answer must match except for case and a final full stop.
        """
        if is_decimal_points(truth):
            return points_f1(read_decimal_points(answer), read_decimal_points(truth))
        truth, answer = truth.strip().rstrip("."), answer.strip().rstrip(".")
        if len(truth) == 1 and truth.isupper():
            found = _LETTER.search(answer) or re.search(r"\b[A-Z]\b", answer)
            return float(found is not None and found[0] == truth)
        if _NUMBER.fullmatch(truth):
            found = _NUMBER.search(answer)
            if found is None:
                return 0.0
            error = abs(float(found[0]) - float(truth))
            return max(0.0, 1 - error / abs(float(truth))) if float(truth) else float(error == 0)
        return float(answer.casefold() == truth.casefold())
