"""Rows of the public layouts as samples, and what is no sample."""

from __future__ import annotations

import pytest

from vlm4vla.auxiliary.public.conversations import Conversations, pairs
from vlm4vla.auxiliary.public.points import place_fault, read_places
from vlm4vla.auxiliary.public.sample import Fault, Sample, is_held_out
from vlm4vla.auxiliary.public.tables import Tables, read_choices, right_letter
from vlm4vla.config.public_sets import ROLES

TURNS = [{"from": "human", "value": "<image>\nWhere?"}, {"from": "gpt", "value": "[(0.1, 0.2)]"}]


class Given:
    """Rows that are there already."""

    position = None

    def __init__(self, *rows):
        self.rows = rows

    def read(self, position=None):
        for row in self.rows:
            yield "set.json", row


def conversation(row, **columns):
    return next(Conversations(Given(row), ROLES["conversations"] | columns, 4).read())


def choice(**changes):
    row = {"id": 7, "image": {"bytes": b"png"}, "question": " Which? ", "choices": "['on', 'off']"}
    return next(Tables(Given(row | {"correct_answer": 1} | changes), ROLES["choices"], 1).read())


def test_a_conversation_is_questions_with_answers():
    found = conversation({"id": "a", "image": "x/1.png", "conversations": TURNS})
    assert found.statements == (("Where?", "[(0.1, 0.2)]"),)
    assert (found.id, found.picture.path, found.group) == ("a", "x/1.png", "x/1.png")


def test_a_video_shows_some_frames_and_groups_by_a_column():
    row = {"id": "a", "video": "scannet/1.mp4", "scene": "scene1", "conversations": TURNS}
    found = conversation(row, picture="video", group="scene")
    assert found.picture.is_video and found.picture.frames == 4 and found.group == "scene1"


def test_turns_of_several_forms():
    roles = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "<video>\nHow many?"},
        {"role": "assistant", "content": " 3 "},
        {"role": "assistant", "content": "again"},
        {"role": "user", "content": "Why?"},
    ]
    assert pairs(roles) == [("How many?", "3")]
    assert pairs("text") == pairs([{"from": "human"}]) == []


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"id": 1, "conversations": TURNS}, None),
        ({"id": 1, "image": [], "conversations": TURNS}, None),
        ({"id": 1, "image": ["a", "b"], "conversations": TURNS}, "has 2 pictures"),
        ({"id": 1, "image": "a", "conversations": []}, "has no turn of a human with an answer"),
        ({"id": 1, "image": "a", "turns": TURNS}, "'conversations' is missing: say in `columns`"),
        ({"image": "a", "conversations": TURNS}, "'id' is missing"),
    ],
)
def test_conversations_that_are_no_samples(row, line):
    found = conversation(row)
    assert isinstance(found, Fault) and found.where.startswith("set.json: sample")
    assert found.wrong is None if line is None else line in found.wrong


def test_choices_stand_in_the_question_and_the_answer_is_a_letter():
    found = choice()
    assert found.statements == (("Which?\nA. on\nB. off", "B"),)
    assert found.picture.data == b"png" and len(found.group) == 64


def test_choices_and_answers_of_several_forms():
    assert read_choices(["a", 2]) == ["a", "2"] and read_choices("('a', 'b')") == ["a", "b"]
    assert (
        read_choices("['a'") is None
        and read_choices("__import__('os')") is None
        and read_choices("[1]") is None
    )
    assert [right_letter(["x", "y", "C"], given) for given in ("0", "B", "C", "y", "3", "D", "z")] == [
        *("A", "B", "C", "B"),
        *(None, None, None),
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"image": None}, None),
        ({"image": {"bytes": None, "path": None}}, None),
        ({"correct_answer": 2}, "answer '2' is none of the choices"),
        ({"choices": "on or off"}, "answer '1' is none of the choices 'on or off'"),
        ({"question": " "}, "has no question or no answer"),
        ({"correct_answer": None}, "has no question or no answer"),
    ],
)
def test_table_rows_that_are_no_samples(changes, line):
    found = choice(**changes)
    assert isinstance(found, Fault)
    assert found.wrong is None if line is None else line in found.wrong


def test_answers_of_a_table_without_choices():
    row = {"id": 1, "image": "a.png", "question": "How far?", "answer": 2.5, "scene": "s"}
    columns = ROLES["answers"] | {"group": "scene"}
    found = next(Tables(Given(row), columns, 1).read())
    assert isinstance(found, Sample) and found.statements == (("How far?", "2.5"),) and found.group == "s"


def test_points_and_boxes():
    assert read_places("[(0.1, .2), (1, 0)]") == [(0.1, 0.2), (1.0, 0.0)]
    assert read_places("[(0.1, 0.2, 0.4, 0.2)]") == [(pytest.approx(0.3), pytest.approx(0.3))]
    assert place_fault("[(0.1, 0.2), (1.0, 0.0)]") is None
    assert "point (1.2, 0.5) lies outside the picture" in place_fault("[(0.1, 0.1), (1.2, 0.5)]")
    assert "point (0.9, 0.4)" not in place_fault("[(0.9, 0.1, 0.3, 0.3)]")
    assert "(1.2, 0.4) lies outside" in place_fault("[(0.9, 0.1, 0.3, 0.3)]")
    assert place_fault("it is at (5, 7) of the map") is None  # words, not a list of points


def test_the_held_out_share_is_a_share_and_never_changes():
    groups = [f"picture {number}" for number in range(20_000)]
    for share in (0.02, 0.3):
        found = sum(is_held_out(group, share) for group in groups) / len(groups)
        assert found == pytest.approx(share, abs=0.01)
    assert all(is_held_out(group, 0.3) for group in groups if is_held_out(group, 0.02))
