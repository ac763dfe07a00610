"""Rows of the public layouts: samples and invalid rows."""

from __future__ import annotations

import numpy as np
import pytest

from vlm4vla.auxiliary.public.conversations import Conversations, question_answer_pairs
from vlm4vla.auxiliary.public.sample import InvalidRow, Sample, is_held_out, plain_text
from vlm4vla.auxiliary.public.tables import Tables, correct_letter, read_choices
from vlm4vla.config.public_sets import ROLES

TURNS = [{"from": "human", "value": "<image>\nWhere?"}, {"from": "gpt", "value": "[(0.1, 0.2)]"}]


class ListedRows:
    """`Rows` from a list."""

    position = None

    def __init__(self, *rows):
        self.rows = rows

    def read(self, position=None):
        for row in self.rows:
            yield "set.json", row


def conversation(row, **columns):
    return next(Conversations(ListedRows(row), ROLES["conversations"] | columns, 4).read())


def choice(**changes):
    row = {"id": 7, "image": {"bytes": b"png"}, "question": " Which? ", "choices": "['on', 'off']"}
    return next(Tables(ListedRows(row | {"correct_answer": 1} | changes), ROLES["choices"], 1).read())


@pytest.mark.parametrize("data", [True, 3, "aGVsbG8=", [137, 80]])
def test_an_image_of_another_type_than_bytes_is_an_invalid_row(data):
    found = choice(image={"bytes": data, "path": "a.png"})
    assert isinstance(found, InvalidRow) and "`bytes` of its image is" in found.problem


def test_a_row_without_an_image_has_no_problem():
    assert choice(image={"bytes": None, "path": None}) == InvalidRow("set.json: sample 7", None)
    assert choice(image={"bytes": b"", "path": "a.png"}).picture.path == "a.png"


def test_a_conversation_becomes_questions_with_answers():
    found = conversation({"id": "a", "image": "x/1.png", "conversations": TURNS})
    assert found.statements == (("Where?", "[(0.1, 0.2)]"),)
    assert (found.id, found.picture.path, found.group) == ("a", "x/1.png", "x/1.png")


def test_a_video_has_frames_and_is_grouped_by_a_column():
    row = {"id": "a", "video": "scannet/1.mp4", "scene": "scene1", "conversations": TURNS}
    found = conversation(row, picture="video", group="scene")
    assert found.picture.is_video and found.picture.frames == 4 and found.group == "scene1"


def test_turns_in_other_formats():
    roles = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "<video>\nHow many?"},
        {"role": "assistant", "content": " 3 "},
        {"role": "assistant", "content": "again"},
        {"role": "user", "content": "Why?"},
    ]
    assert question_answer_pairs(roles) == [("How many?", "3")]
    assert question_answer_pairs("text") == question_answer_pairs([{"from": "human"}]) == []


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"id": 1, "conversations": TURNS}, None),
        ({"id": 1, "image": [], "conversations": TURNS}, None),
        ({"id": 1, "image": [None], "conversations": TURNS}, None),
        ({"id": 1, "image": {"path": "a"}, "conversations": TURNS}, "write the name of one file"),
        ({"id": 1, "image": ["a", "b"], "conversations": TURNS}, "has 2 images, but a policy sees one"),
        ({"id": 1, "image": "a", "conversations": []}, "has no human turn with an answer"),
        ({"id": 1, "image": "a", "turns": TURNS}, "'conversations' is missing: write another key"),
        ({"image": "a", "conversations": TURNS}, "'id' is missing"),
    ],
)
def test_invalid_conversations(row, line):
    found = conversation(row)
    assert isinstance(found, InvalidRow) and found.where.startswith("set.json: sample")
    assert found.problem is None if line is None else line in found.problem


@pytest.mark.parametrize("blank", [None, "", "<image>", "\u200b", 7, ["a"]])
def test_a_turn_without_a_text_ends_the_question_before_it(blank):
    """An answer never follows another question than its own."""

    def pairs(*texts):
        speakers = ("human", "gpt") * 2
        return question_answer_pairs([{"from": a, "value": b} for a, b in zip(speakers, texts, strict=False)])

    assert pairs("Q1", "A1", blank, "A2") == [("Q1", "A1")]
    assert pairs(blank, "A1", "Q2", "A2") == [("Q2", "A2")]
    again = [{"from": "human", "value": text} for text in ("Q1", blank)]
    assert question_answer_pairs([*again, {"from": "gpt", "value": "A2"}]) == []
    if blank != "<image>":  # an answer is not searched for placeholders
        assert pairs("Q1", blank, blank, "A2") == []


def test_numbers_keep_their_digits():
    values = [
        1234567.891,
        0.1 + 0.2,
        np.float32(0.1).item(),
        2.0**60,
        -0.5,
        1e-7,
        np.float32(12345.678).item(),
    ]
    texts = ["1234567.891", "0.3", "0.1", "1152921504606846976", "-0.5", "1e-07", "12345.678"]
    assert [plain_text(value) for value in values] == texts


@pytest.mark.parametrize("text", ["['a' 'b', 'c']", "['a' 'b' 'c']", '["a"\n "b", "c"]'])
def test_a_list_with_a_missing_comma_is_no_list_of_choices(text):
    assert read_choices(text) is None
    assert read_choices(" ['a, b', \"c's\"]") == ["a, b", "c's"]


def test_choices_are_part_of_the_question_and_the_answer_is_a_letter():
    found = choice()
    assert found.statements == (("Which?\nA. on\nB. off", "B"),)
    assert found.picture.data == b"png" and len(found.group) == 64


def test_choices_and_answers_in_other_formats():
    assert read_choices(["a", 2]) == ["a", "2"] and read_choices("('a', 'b')") == ["a", "b"]
    assert (
        read_choices("['a'") is None
        and read_choices("__import__('os')") is None
        and read_choices("[1]") is None
    )
    assert [correct_letter(["x", "y", "C"], given) for given in ("0", "B", "C", "y", "3", "D", "z")] == [
        *("A", "B", "C", "B"),
        *(None, None, None),
    ]


@pytest.mark.parametrize(
    ("answer", "choices", "letter"),
    [
        (2, ["1", "2", "3", "4"], "C"),  # a number is an index
        (2.0, ["1", "2", "3", "4"], "C"),  # pandas turns integers with gaps into floats
        ("2", ["1", "2", "3", "4"], "B"),  # a text is the text of a choice first
        ("2", ["one", "two", "three"], "C"),
        ("(B)", ["one", "two", "three"], "B"),
        ("B.", ["one", "two", "three"], "B"),
        ("Two", ["one", "two", "three"], "B"),
        (["two"], ["one", "two", "three"], "B"),
        (True, ["True", "False"], "A"),
        (True, ["one", "two"], None),
        (-1, ["one", "two"], None),
        (0.5, ["one", "two"], None),
    ],
)
def test_what_an_answer_names(answer, choices, letter):
    assert correct_letter(choices, answer) == letter


def test_texts_of_values():
    values = ["  a ", 3, 3.0, 0.1, True, ["a"], ("a",), None, "", " ", float("nan"), ["a", "b"], {}, b"a"]
    assert [plain_text(value) for value in values] == ["a", "3", "3", "0.1", "True", "a", "a", *[None] * 7]


@pytest.mark.parametrize("group", [None, "", " ", float("nan")])
def test_rows_without_a_group_are_grouped_by_their_image(group):
    row = {"id": "a", "image": "x/1.png", "conversations": TURNS, "scene": group}
    assert conversation(row, group="scene").group == "x/1.png"
    table = {"id": 1, "image": "a.png", "question": "How far?", "answer": 2.5, "scene": group}
    columns = ROLES["answers"] | {"group": "scene"}
    assert next(Tables(ListedRows(table), columns, 1).read()).group == "a.png"


def test_the_group_0_is_a_group():
    table = {"id": 1, "image": "a.png", "question": "How far?", "answer": 2.5, "scene": 0}
    columns = ROLES["answers"] | {"group": "scene"}
    assert next(Tables(ListedRows(table), columns, 1).read()).group == "0"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"image": None}, None),
        ({"image": {"bytes": None, "path": None}}, None),
        ({"correct_answer": 2}, "answer '2' is not one of the choices"),
        ({"choices": "on or off"}, "'on or off' is not a list of two or more different choices"),
        ({"choices": ["on", " on "]}, "is not a list of two or more different choices"),
        ({"choices": ["on", None]}, "is not a list of two or more different choices"),
        ({"choices": ["on", ""]}, "is not a list of two or more different choices"),
        ({"correct_answer": float("nan")}, "the question or the answer is empty"),
        ({"correct_answer": "  "}, "the question or the answer is empty"),
        ({"correct_answer": ["on", "off"]}, "is empty or is not one text"),
        ({"correct_answer": {"text": "on"}}, "is empty or is not one text"),
        ({"correct_answer": b"on"}, "is empty or is not one text"),
        ({"choices": ["B", "A"], "correct_answer": "A"}, "answer 'A' is not one of the choices"),
        ({"question": " "}, "the question or the answer is empty"),
        ({"question": "\u2060"}, "the question or the answer is empty"),
        ({"choices": ["on", "\u200b"]}, "is not a list of two or more different choices"),
        ({"correct_answer": None}, "the question or the answer is empty"),
    ],
)
def test_invalid_table_rows(changes, line):
    found = choice(**changes)
    assert isinstance(found, InvalidRow)
    assert found.problem is None if line is None else line in found.problem


def test_answers_of_a_table_without_choices():
    row = {"id": 1, "image": "a.png", "question": "How far?", "answer": 2.5, "scene": "s"}
    columns = ROLES["answers"] | {"group": "scene"}
    found = next(Tables(ListedRows(row), columns, 1).read())
    assert isinstance(found, Sample) and found.statements == (("How far?", "2.5"),) and found.group == "s"


def test_the_held_out_share_is_exact_and_stable():
    groups = [f"picture {number}" for number in range(20_000)]
    for share in (0.02, 0.3):
        found = sum(is_held_out(group, share) for group in groups) / len(groups)
        assert found == pytest.approx(share, abs=0.01)
    assert all(is_held_out(group, 0.3) for group in groups if is_held_out(group, 0.02))
