"""The choice of the questions that measure capability."""

from pathlib import Path

import numpy as np
import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import QuestionSet
from vlm4vla.data.questions.statements import Statement
from vlm4vla.data.questions.suite import choose_questions

STATEMENTS = [
    Statement("caption", "describe", "red block"),
    Statement("caption", "describe", "blue block"),
    Statement("colour", "which colour is left ?", "red"),
    Statement("colour", "which colour is right ?", "blue"),
]


@pytest.fixture
def questions():
    numbers = np.tile(np.arange(4), 5)
    return QuestionSet(Path("questions"), 4, STATEMENTS, numbers, np.arange(0, 21, 4), [])


def test_a_question_has_all_its_correct_answers(questions):
    chosen = choose_questions(questions, "caption", 10)
    assert [question.picture for question in chosen] == [0, 1, 2, 3, 4]
    assert {question.answers for question in chosen} == {frozenset({"red block", "blue block"})}


def test_every_image_gives_one_question_before_a_second(questions):
    chosen = choose_questions(questions, "colour", 7)
    assert [question.picture for question in chosen] == [0, 1, 2, 3, 4, 0, 1]
    assert len({(question.picture, question.question) for question in chosen}) == 7
    assert chosen[:3] == choose_questions(questions, "colour", 3)  # a smaller count chooses the first ones


def test_an_empty_set_is_refused(questions):
    with pytest.raises(UserError, match="no question of the set 'count'"):
        choose_questions(questions, "count", 3)
