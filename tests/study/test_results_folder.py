"""The numbers of a table, read back: every fault of the file is one line that names it."""

import json

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.study.results_folder import Results

ROW = {
    "model": "m",
    "benchmark": "bridge",
    "metric": "success_rate",
    "value": 0.5,
    "p_value": None,
    "new_tasks_ci": [0, 1],
}
SETTINGS = {"study": "s", "scale": "smoke", "seeds": [0], "cells": {}}
GOOD = {"table": "main", "settings": SETTINGS, "records": [ROW]}


def _read(tmp_path, text):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis/main.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return Results(tmp_path).analysis("main")


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD | {"settings": {"published": {}}},
        GOOD | {"settings": {"study": "s"}},
        GOOD | {"records": []},
        GOOD | {"another": 1},
    ],
    ids=["a study", "the published study", "another version", "no records", "another key"],
)
def test_a_whole_file(tmp_path, content):
    assert _read(tmp_path, json.dumps(content)) == content


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"settings": None}, "settings: not a mapping"),
        ({"settings": SETTINGS | {"study": 3}}, r"settings\.study: not a text"),
        ({"settings": SETTINGS | {"scale": None}}, r"settings\.scale: not a text"),
        ({"settings": SETTINGS | {"seeds": None}}, r"settings\.seeds: not a list of whole numbers"),
        ({"settings": SETTINGS | {"seeds": [True]}}, r"settings\.seeds: not a list of whole numbers"),
        ({"settings": SETTINGS | {"cells": []}}, r"settings\.cells: not a mapping"),
        ({"records": None}, "records: not a list"),
        ({"records": [1]}, r"records\.0: not a mapping"),
        ({"records": [ROW, ROW | {"metric": None}]}, r"records\.1\.metric: not a text"),
        ({"records": [{"model": "m"}]}, r"records\.0\.benchmark: not a text"),
        ({"records": [ROW | {"value": "x"}]}, r"records\.0\.value: not a number"),
        ({"records": [ROW | {"ci_low": [0]}]}, r"records\.0\.ci_low: not a number"),
        ({"records": [ROW | {"variant": ["full"]}]}, r"records\.0\.variant: not a text"),
    ],
)
def test_a_fault_of_the_content(tmp_path, changed, fault):
    with pytest.raises(UserError, match=rf"analysis/main\.json: {fault}: make the table again") as error:
        _read(tmp_path, json.dumps(GOOD | changed))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff\xfe", "[]", '{"records": []}'])
def test_another_file(tmp_path, text):
    with pytest.raises(UserError, match=r"analysis/main\.json: .*make the table again") as error:
        _read(tmp_path, text)
    assert "\n" not in str(error.value)
