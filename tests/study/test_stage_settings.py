"""The settings of each stage, and what they leave out."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from vlm4vla.config.config import load_config
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study


def test_settings_with_a_universal_tokenizer_leave_out_vocabulary_and_scale(raw):
    raw["auxiliary"]["fast"]["tokenizer"] = "somewhere"
    first = Study(load_config(raw)).fast_data_settings(None)
    raw["auxiliary"]["fast"] |= {"vocabulary": 300, "scale": 20}
    assert Study(load_config(raw)).fast_data_settings(None) == first
    assert json.loads(first)["fast"]["tokenizer"] == "somewhere"


def test_the_data_of_fast_injection_do_not_depend_on_its_training(raw):
    first = Study(load_config(raw))
    own = raw["auxiliary"]["training"] | {"steps": 7}
    raw["auxiliary"]["fast"]["training"] = own
    other = Study(load_config(raw))
    assert first.fast_data_settings(None) == other.fast_data_settings(None)
    wildcards = SimpleNamespace(vlm="qwen3-vl-4b", task="fast-freeze-vision")
    assert json.loads(other.auxiliary_settings(wildcards))["training"]["steps"] == 7
    wildcards.task = "robopoint"
    assert first.auxiliary_settings(wildcards) == other.auxiliary_settings(wildcards)


def test_variant_with_its_own_training(raw):
    raw["benchmarks"]["calvin"]["training"] = None
    raw["variants"]["scratch"]["training"] = raw["vla"] | {"steps": 7}
    study = Study(load_config(raw))

    def steps(variant: str) -> int:
        run = Run("kosmos-2", "none", variant, "calvin", 0)
        return json.loads(study.vla_settings(run))["training"]["steps"]

    assert steps("scratch") == 7
    assert steps("full") == raw["vla"]["steps"]
    assert json.loads(study.table_settings("scratch"))["vla_steps"] == {"full": steps("full"), "scratch": 7}


@pytest.mark.parametrize(
    ("key", "value"),
    [("seeds", [0, 1]), ("minimum_free_gb", 1.0), ("results", "elsewhere")],
)
def test_settings_leave_out_keys_that_the_stage_does_not_use(raw, study, key, value):
    other = Study(load_config(raw | {key: value}))
    wildcards = SimpleNamespace(**Run("kosmos-2", "none", "full", "calvin", 0).wildcards())
    for name in ("backbone_settings", "vla_settings", "rollout_settings", "demonstrations_settings"):
        assert getattr(study, name)(wildcards) == getattr(other, name)(wildcards)


def test_settings_are_canonical(study):
    text = study.vla_settings(Run("kosmos-2", "none", "freeze-vision", "bridge", 3))
    value = json.loads(text)
    assert text == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert (value["freeze"], value["seed"], value["chunk"]) == ("vision", 3, 4)


def test_tables_settings_name_every_backbone(study):
    cells = json.loads(study.table_settings("main"))["cells"]
    assert cells["backbones"] == list(study.config.backbones)
