"""Which questions measure capability."""

from pathlib import Path

import numpy as np
import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import Questions
from vlm4vla.data.questions.statements import Statement
from vlm4vla.data.questions.suite import choose

STATEMENTS = [
    Statement("caption", "describe", "red block"),
    Statement("caption", "describe", "blue block"),
    Statement("colour", "which colour is left ?", "red"),
    Statement("colour", "which colour is right ?", "blue"),
]


@pytest.fixture
def questions():
    numbers = np.tile(np.arange(4), 5)
    return Questions(Path("questions"), 4, STATEMENTS, numbers, np.arange(0, 21, 4), [])


def test_every_right_answer_of_a_question_counts(questions):
    chosen = choose(questions, "caption", 10)
    assert [asked.picture for asked in chosen] == [0, 1, 2, 3, 4]
    assert {asked.answers for asked in chosen} == {frozenset({"red block", "blue block"})}


def test_pictures_come_first_and_questions_differ(questions):
    chosen = choose(questions, "colour", 7)
    assert [asked.picture for asked in chosen] == [0, 1, 2, 3, 4, 0, 1]
    assert len({(asked.picture, asked.question) for asked in chosen}) == 7
    assert chosen[:3] == choose(questions, "colour", 3)  # a smaller number asks the first of them


def test_an_empty_set_is_refused(questions):
    with pytest.raises(UserError, match="no question of the set 'count'"):
        choose(questions, "count", 3)
