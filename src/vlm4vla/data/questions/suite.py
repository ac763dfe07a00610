"""The questions that measure capability: chosen from held-out pictures, the same for every backbone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import Questions


@dataclass(frozen=True)
class Asked:
    """One question about one picture, and every answer that is right."""

    picture: int
    question: str
    answers: frozenset[str]


def choose(questions: Questions, name: str, count: int) -> list[Asked]:
    """At most `count` questions of the set `name`, spread over pictures.

    Pictures are visited in order, each giving one question of the set and then, if there are too few
    pictures, another; which one depends on the picture alone. A question that a picture's statements answer
    in several ways ("describe") has them all as right answers. UserError when the set is empty.
    """
    rounds: list[list[Asked]] = []
    for picture in range(len(questions)):
        own: dict[str, set[str]] = {}
        for number in questions.of(picture):
            statement = questions.statements[number]
            if statement.set == name:
                own.setdefault(statement.question, set()).add(statement.answer)
        order = np.random.default_rng(picture).permutation(sorted(own))
        for turn, question in enumerate(order):
            if turn == len(rounds):
                rounds.append([])
            rounds[turn].append(Asked(picture, str(question), frozenset(own[question])))
    chosen = [asked for part in rounds for asked in part][:count]
    if not chosen:
        raise UserError(
            f"capability.sets: {questions.folder} holds no question of the set {name!r}: "
            "take it out, or make more held-out pictures"
        )
    return chosen
