"""CSV files that users write: what is read, and what is refused with one line."""

from __future__ import annotations

import pytest

from vlm4vla.core.csv_files import mixed_share, number, read_csv
from vlm4vla.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [("52.3", 52.3), ("-1", -1.0), ("+.5", 0.5), ("5.", 5.0), ("1e-3", 1e-3), ("0", 0.0)],
)
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "or remove the line"),
        ("52,3", "write decimals with a point"),
        ("1,234", "no separator of thousands"),
        ("52.3*", "write the number alone, such as 52.3"),
        ("52.3 %", "without a mark or a unit"),
        ("52.3 \N{PLUS-MINUS SIGN} 0.4", "write the number alone, such as 52.3"),
        ("52.3\N{DAGGER}", "write the number alone"),
        ("1_000", "write a number with a decimal point"),
        ("nan", "write a number"),
        ("inf", "write a number"),
        ("1e999", "not as large"),
        ("0x10", "write"),
        ("\N{ARABIC-INDIC DIGIT FIVE}", "write a number"),
        ("1" * 41, "or as long"),
        ("high", "write a number"),
    ],
)
def test_what_is_no_number(text, words):
    with pytest.raises(ValueError, match=words):
        number(text)


def test_shares_among_percentages():
    assert mixed_share([52.0, 0.5, 61.0]) == 0.5
    assert mixed_share([0.2, 0.5, 1.0]) is None and mixed_share([0.0, 1.0, 61.0]) is None
    assert mixed_share([]) is None


def test_a_file_of_a_spreadsheet(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfModel, score\r\n\r\n"a, b",1\r\nc , 2\r\n')
    assert read_csv(path, ["model", "score"]) == [
        (3, {"model": "a, b", "score": "1"}),
        (4, {"model": "c", "score": "2"}),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: no header: write model,score,set"),
        (b"model\n", "line 1: column 'score' is missing"),
        (b"model,score,scroe\n", "line 1: unknown column 'scroe': did you mean 'score'?"),
        (b"model,score,score\n", "line 1: column 'score' occurs twice"),
        (b"model\tscore\n", "line 1: the columns are not separated by commas"),
        (b"model,score\na,1\nb,52,3\n", "line 3: 3 cells, but the header has 2 columns"),
        (b"model,score\nb\n", "line 2: 1 cells, but the header has 2 columns"),
        (b'model,score\n"b,1\n', "line 2: not CSV"),
        (b"model,score\n\xe9,1\n", "line 2: not UTF-8 text"),
    ],
)
def test_a_bad_file_is_refused_with_one_line(tmp_path, content, words):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_csv(path, ["model", "score"], ["set"])
    assert str(error.value).startswith(f"{path}: {words}") and "\n" not in str(error.value)


def test_other_columns_are_allowed_if_no_names_are_given(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("model,x\na,1\n")
    assert read_csv(path, ["model"], None) == [(2, {"model": "a", "x": "1"})]
