"""The capability suite: held-out questions, the same for every backbone, that measure its capability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import QuestionSet


@dataclass(frozen=True)
class SuiteQuestion:
    """One question about one image, with all its correct answers."""

    picture: int
    question: str
    answers: frozenset[str]


def choose_questions(questions: QuestionSet, name: str, count: int) -> list[SuiteQuestion]:
    """Choose at most `count` questions of the set `name`, spread over the images.

    The images are visited in order, and each gives one question of the set. If that is fewer than `count`,
    each gives another one, and so on. The choice within an image depends only on the image's number. If the
    statements answer a question in several ways ("describe"), every one of these answers is correct. Raises
    UserError if the set is empty.
    """
    rounds: list[list[SuiteQuestion]] = []
    for picture in range(len(questions)):
        answers: dict[str, set[str]] = {}
        for number in questions.statement_numbers(picture):
            statement = questions.statements[number]
            if statement.set == name:
                answers.setdefault(statement.question, set()).add(statement.answer)
        order = np.random.default_rng(picture).permutation(sorted(answers))
        for turn, question in enumerate(order):
            if turn == len(rounds):
                rounds.append([])
            rounds[turn].append(SuiteQuestion(picture, str(question), frozenset(answers[question])))
    chosen = [question for part in rounds for question in part][:count]
    if not chosen:
        raise UserError(
            f"capability.sets: {questions.folder} contains no question of the set {name!r}: remove the set, "
            "or generate more held-out images"
        )
    return chosen
