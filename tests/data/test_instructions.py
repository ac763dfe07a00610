"""The rule for instructions: what counts as text, and what counts as none."""

import numpy as np
import pytest

from vlm4vla.data.instructions import LeftOut, drop_blank_tasks, instruction_text


@pytest.mark.parametrize(
    "value",
    [
        *("", "  ", "\t\n", "\u00a0\u3000", "\u200b", "\ufeff \u2060", "\u3164", "\u0301"),
        *(None, float("nan"), np.nan, 3, True, {}, {"text": "lift"}),
        *([], [None], ["", "  "], np.array([]), np.array([""]), np.array(None), b"", b"\xff\xfe"),
        *("\ud800", "lift it \udfff", ["\ud800"]),
    ],
)
def test_values_without_an_instruction(value):
    assert instruction_text(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("lift the block", "lift the block"),
        ("  lift\tthe block \n", "lift\tthe block"),
        ("\ufefflift\u200b ", "lift"),
        ("None", "None"),
        ("nan", "nan"),
        ("用左手", "用左手"),
        ("!", "!"),
        (["lift"], "lift"),
        (("lift",), "lift"),
        ([["lift"]], "lift"),
        (["lift", " lift ", "", None], "lift"),
        (np.array(["lift"]), "lift"),
        (np.array([["lift"]], dtype=object), "lift"),
        (np.array("lift"), "lift"),
        (np.str_("lift"), "lift"),
        (b" lift", "lift"),
        (np.bytes_(b"lift"), "lift"),
    ],
)
def test_values_with_an_instruction(value, text):
    found = instruction_text(value)
    assert found == text and type(found) is str


def test_several_instructions_are_refused():
    with pytest.raises(ValueError, match=r"2 different instructions \['lift', 'push'\]"):
        instruction_text(["lift", "push"])


def test_tasks_are_numbered_again_without_the_blank_ones():
    tasks, index = drop_blank_tasks([None, "lift", None, "push"], np.array([3, 1, 1]))
    assert tasks == ["lift", "push"] and index.tolist() == [1, 0, 0]


def test_counts_are_sums_and_words():
    counts = LeftOut.of([3, 4]) + LeftOut(1, 1)
    assert counts.record() == {"episodes": 3, "frames": 8}
    assert str(counts) == "3 episodes (8 frames)" and str(LeftOut.of([1])) == "1 episode (1 frame)"
