"""JSON text from strangers: a value, or one ValueError."""

import json

import pytest

from vlm4vla.core.artefacts import parse_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, "é"]}', "[]", "3", b'"x"', "[" * 500 + "]" * 500])
def test_values_are_those_of_json(text):
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe", "1" * 5000, '"\ud800']
)
def test_other_text_is_one_value_error(text):
    with pytest.raises(ValueError) as error:
        parse_json(text)
    assert len(str(error.value).splitlines()) == 1
