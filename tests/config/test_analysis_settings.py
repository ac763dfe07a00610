"""The margins of the tables' words: absent from the settings at their defaults, and checked."""

import json
from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.analysis import Margins
from vlm4vla.config.config import load_config
from vlm4vla.config.stages import TableSettings, read_settings
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path):
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def settings_of(raw):
    return Study(load_config(raw)).table_settings("freeze")


def test_default_margins_do_not_change_the_settings_of_a_table(raw):
    written = settings_of(raw)
    assert "analysis" not in json.loads(written)
    assert written == settings_of({key: value for key, value in raw.items() if key != "analysis"})
    assert read_settings(written, TableSettings).analysis == Margins()
    assert "analysis" not in load_config(raw).model_dump(mode="json")


def test_other_margins_reach_the_tables(raw):
    written = settings_of(raw | {"analysis": {"margin": 0.1}})
    assert json.loads(written)["analysis"] == {"margin": 0.1, "correlation_margin": 0.5, "collapse": 0.5}
    assert read_settings(written, TableSettings).analysis.margin == 0.1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"margin": 5}, "analysis.margin: 5 is not below 1: write a number below 1"),
        ({"collapse": 0}, "analysis.collapse: 0 is not above 0: write a number above 0"),
        ({"margins": 0.1}, "analysis.margins: unknown key: did you mean 'margin'?"),
    ],
)
def test_a_bad_margin_is_one_line(raw, value, message):
    with pytest.raises(UserError) as error:
        load_config(raw | {"analysis": value})
    assert str(error.value) == f"config.yaml: {message}"
