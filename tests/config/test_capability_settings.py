"""The keys of `capability`: the source, the tasks of lmms-eval, and JSON without keys at their defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.capability import KNOWN_TASKS, Capability, LmmsEval
from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return load_yaml(CONFIG.read_text())


def test_embedded_settings_have_no_keys_of_other_sources(raw):
    settings = json.loads(Study(load_config(raw)).capability_settings())
    assert set(settings) == {"capability"} and set(settings["capability"]) == {"questions_per_set", "sets"}


def test_keys_of_another_source_rerun_nothing(raw):
    before = Study(load_config(raw)).capability_settings()
    raw["capability"] |= {"lmms_eval": {"tasks": ["pope"]}, "scores": {"file": "scores.csv"}}
    assert Study(load_config(raw)).capability_settings() == before


def test_settings_survive_json(raw):
    settings = Capability(
        questions_per_set=3, sets=["where"], source="lmms-eval", lmms_eval={"tasks": ["pope"], "limit": 8}
    )
    assert Capability.model_validate_json(settings.model_dump_json()) == settings


def test_known_tasks_need_no_metric():
    settings = LmmsEval(
        tasks={"mme": None, "pope": {}, "gqa": "accuracy", "own": {"metric": "m", "out_of": 5}}
    )
    assert (settings.tasks["mme"].metric, settings.tasks["mme"].out_of) == KNOWN_TASKS["mme"]
    assert settings.tasks["pope"].metric == "pope_accuracy" and settings.tasks["gqa"].metric == "accuracy"
    assert (settings.tasks["own"].metric, settings.tasks["own"].out_of) == ("m", 5)
    assert LmmsEval(tasks=["mme", "pope"]).tasks == LmmsEval(tasks={"mme": {}, "pope": {}}).tasks


def test_the_model_depends_on_the_family_and_can_be_configured():
    settings = LmmsEval(tasks=["pope"], models={"paligemma": "mine", "qwen3_vl": "huggingface"})
    assert settings.model_for("paligemma") == "mine" and settings.model_for("qwen3_vl") == "huggingface"
    assert settings.model_for("qwen2_5_vl") == "qwen2_5_vl" and settings.model_for("kosmos-2") is None


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"source": "lmms"}, "capability.source: unknown value 'lmms': did you mean 'lmms-eval'?"),
        ({"source": "lmms-eval"}, "source is lmms-eval: add `lmms_eval:"),
        ({"source": "scores"}, "source is scores: add `scores:"),
        ({"lmms_eval": {"tasks": ["poppe"]}}, "unknown task 'poppe': did you mean 'pope'?"),
        ({"lmms_eval": {"tasks": []}}, "names no task"),
        ({"lmms_eval": {"tasks": ["pope"], "batch": 0}}, "batch: 0 is not above 0"),
        ({"lmms_eval": {"tasks": ["pope"], "limits": 3}}, "limits: unknown key: did you mean 'limit'?"),
        ({"scores": {"file": "a", "out_of": 0}}, "out_of: 0 is not above 0"),
    ],
)
def test_each_error_is_one_line(raw, keys, line):
    raw["capability"] |= keys
    with pytest.raises(UserError) as error:
        load_config(raw)
    assert line in str(error.value) and "\n" not in str(error.value)
