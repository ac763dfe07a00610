"""Keys of `capability`: the source, lmms-eval's tasks, and JSON that does not grow while nothing is set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from vlm4vla.config.capability import KNOWN_TASKS, Capability, LmmsEval
from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


def test_embedded_settings_hold_no_new_key(raw):
    made = json.loads(Study(load_config(raw)).capability_settings())
    assert set(made) == {"capability"} and set(made["capability"]) == {"questions_per_set", "sets"}


def test_what_belongs_to_another_source_reruns_nothing(raw):
    before = Study(load_config(raw)).capability_settings()
    raw["capability"] |= {"lmms_eval": {"tasks": ["pope"]}, "scores": {"file": "scores.csv"}}
    assert Study(load_config(raw)).capability_settings() == before


def test_what_is_set_goes_through_json(raw):
    given = Capability(
        questions_per_set=3, sets=["where"], source="lmms-eval", lmms_eval={"tasks": ["pope"], "limit": 8}
    )
    assert Capability.model_validate_json(given.model_dump_json()) == given


def test_known_tasks_need_no_metric():
    given = LmmsEval(tasks={"mme": None, "pope": {}, "gqa": "accuracy", "own": {"metric": "m", "out_of": 5}})
    assert (given.tasks["mme"].metric, given.tasks["mme"].out_of) == KNOWN_TASKS["mme"]
    assert given.tasks["pope"].metric == "pope_accuracy" and given.tasks["gqa"].metric == "accuracy"
    assert (given.tasks["own"].metric, given.tasks["own"].out_of) == ("m", 5)
    assert LmmsEval(tasks=["mme", "pope"]).tasks == LmmsEval(tasks={"mme": {}, "pope": {}}).tasks


def test_models_are_by_family_and_can_be_added():
    given = LmmsEval(tasks=["pope"], models={"paligemma": "mine", "qwen3_vl": "huggingface"})
    assert given.model_of("paligemma") == "mine" and given.model_of("qwen3_vl") == "huggingface"
    assert given.model_of("qwen2_5_vl") == "qwen2_5_vl" and given.model_of("kosmos-2") is None


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"source": "lmms"}, "capability.source: unknown value 'lmms': did you mean 'lmms-eval'?"),
        ({"source": "lmms-eval"}, "source is lmms-eval: write `lmms_eval:"),
        ({"source": "scores"}, "source is scores: write `scores:"),
        ({"lmms_eval": {"tasks": ["poppe"]}}, "unknown task 'poppe': did you mean 'pope'?"),
        ({"lmms_eval": {"tasks": []}}, "names no task"),
        ({"lmms_eval": {"tasks": ["pope"], "batch": 0}}, "batch: 0 is not above 0"),
        ({"lmms_eval": {"tasks": ["pope"], "limits": 3}}, "limits: unknown key: did you mean 'limit'?"),
        ({"scores": {"file": "a", "out_of": 0}}, "out_of: 0 is not above 0"),
    ],
)
def test_bad_keys_are_one_line_each(raw, keys, line):
    raw["capability"] |= keys
    with pytest.raises(UserError) as error:
        load_config(raw)
    assert line in str(error.value) and "\n" not in str(error.value)
