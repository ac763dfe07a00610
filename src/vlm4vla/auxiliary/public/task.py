"""A task that learns from public sets: their own words, scored by what kind of answer is the true one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vlm4vla.auxiliary.public.points import is_places, place_fault, read_places
from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.points import f1
from vlm4vla.data.questions.encoded_dataset import INFO
from vlm4vla.data.questions.statements import Picture

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CHOICE = re.compile(r"^([A-Z])\. ", re.MULTILINE)


def is_public(data: Path) -> bool:
    """Whether a folder of data was made of public sets."""
    return (data / INFO).is_file()


class PublicTask(Task):
    """`name`: of the task whose data it is."""

    def __init__(self, name: str):
        self.name = name

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        raise TypeError("public sets are read, not drawn: the stage auxiliary-data has written them")

    def fault(self, answer: str) -> str | None:
        return place_fault(answer)

    def chance(self, question: str, truth: str) -> float:
        """One of the choices by lot, where a question has some."""
        choices = _CHOICE.findall(question)
        return 1 / len(choices) if len(choices) > 1 and truth in choices else 0.0

    def score(self, answer: str, truth: str) -> float:
        """How right an answer is, 0 to 1.

        Points by F1, boxes by their middles; a letter by the first that stands alone; a number by how near it
        is, 1 - |error| / |truth| and at least 0; words to the letter, but for case and a full stop.
        """
        if is_places(truth):
            return f1(read_places(answer), read_places(truth))
        truth, answer = truth.strip().rstrip("."), answer.strip().rstrip(".")
        if len(truth) == 1 and truth.isupper():
            found = re.search(r"\b[A-Z]\b", answer)
            return float(found is not None and found[0] == truth)
        if _NUMBER.fullmatch(truth):
            found = _NUMBER.search(answer)
            if found is None:
                return 0.0
            error = abs(float(found[0]) - float(truth))
            return max(0.0, 1 - error / abs(float(truth))) if float(truth) else float(error == 0)
        return float(answer.casefold() == truth.casefold())
