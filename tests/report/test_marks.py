"""Each mark has one meaning, LaTeX knows it, and no line ends within a number and its interval."""

import pytest

from vlm4vla.report import marks
from vlm4vla.report.rows import contrasts, early_stops
from vlm4vla.report.rows.table import GAP, NO_BREAK, Block, Table, kept_together, tex

MARKS = {name: value for name, value in vars(marks).items() if name.isupper()}


def test_marks_are_distinct_and_become_ascii_in_latex():
    assert len(set(MARKS.values())) == len(MARKS) == 6
    for mark in MARKS.values():
        written = tex(f"1{mark}")
        assert written.isascii() and written != "1"
    assert len({tex(mark) for mark in MARKS.values()}) == len(MARKS)


def test_rows_use_the_common_marks():
    significant = {"p_adjusted": 0.01, "outcome": "lower", "difference": -1}
    assert contrasts.printed_adjusted(significant) == f"0.010 {marks.SIGNIFICANT}"
    assert contrasts.printed_adjusted(significant | {"outcome": "equivalent"}) == f"0.010 {marks.EQUIVALENT}"
    assert early_stops.stop_mark({"stopped": "40 of 100", "stop_states": [40]}) == f" {marks.STOPPED}40"


@pytest.mark.parametrize(
    "text",
    [
        "0.50 [0.01, 4.29]",
        "-24.1 [-36.9, +36.9]",
        "0 [0, \N{EN DASH}]",
        "[0.12, 0.98]",
        "3.856 (±0.12)",
        "0.839 [0.39, 0.97]",
    ],
)
def test_numbers_with_intervals_stay_in_one_line(text):
    whole = kept_together(text)
    assert whole.replace(NO_BREAK, " ") == text and " " not in whole
    grid = Block("Scores", ["model", "score"], [["a model", text], ["none", GAP]])
    table = Table("t", "A table", "A caption.", [], [grid], [f"The score is {text} here."], [])
    cell = table.markdown().split("| a model |")[1].split("|")[0].strip()
    assert cell == whole
    assert f"The score is {whole} here." in table.markdown()
    cells = table.latex().split("a model & ")[1].split(r" \\")[0]
    assert " " not in cells and "~" in cells


def test_other_words_may_break():
    text = "see [docs], 3 of 4 (p = 0.2) and [a, b]"
    assert kept_together(text) == text
