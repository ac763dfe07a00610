"""Checks before a run of backbones whose model type has no adapter of its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla import backbones
from vlm4vla.backbones.generic import surveyed
from vlm4vla.backbones.generic.surveyed import SurveyResult
from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.policies import survey
from vlm4vla.study.study import Study
from vlm4vla.workflow.model_types import check_model_types, check_packages
from vlm4vla.workflow.preflight import open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path) -> dict:
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def tiny(raw, family, **widths):
    raw["backbones"]["mine"] = {"family": family, "parameters_b": 4, "pretraining": "broad", "tiny": widths}
    return raw


@pytest.fixture
def unknown(monkeypatch):
    """No type has been surveyed, as with another transformers."""
    monkeypatch.setattr(surveyed, "findings", lambda: {})
    monkeypatch.setattr("vlm4vla.workflow.model_types.findings", lambda: {})


def found_by_survey(monkeypatch, **result):
    asked = []

    def fake(model_type):
        asked.append(model_type)
        return SurveyResult(model_type, **result)

    monkeypatch.setattr(survey, "survey", fake)
    return asked


def test_a_tiny_backbone_is_built_once(raw, monkeypatch):
    built = []
    build = backbones.build
    monkeypatch.setattr(backbones, "build", lambda *given: built.append(given[1]) or build(*given))
    study = open_study(tiny(raw, "gemma3"))
    assert built == ["mine"]
    made = Path(study.backbone_path("mine"))
    made.parent.mkdir(parents=True)
    made.write_text("{}")
    check_model_types(study)
    assert built == ["mine"]


def test_a_type_that_does_not_work_is_refused_with_the_reason(raw, monkeypatch):
    known = dataclasses.replace(surveyed.findings()["gemma3"], failed="padding", reason="it reads padding")
    monkeypatch.setitem(surveyed.findings(), "gemma3", known)
    with pytest.raises(
        UserError, match=r"backbones.mine.family: 'gemma3' does not work as a backbone: it reads padding"
    ):
        open_study(tiny(raw, "gemma3"))


def test_a_type_that_needs_a_package_is_refused_without_it(raw, monkeypatch):
    known = dataclasses.replace(surveyed.findings()["gemma3"], needs=("no_such_package",))
    monkeypatch.setitem(surveyed.findings(), "gemma3", known)
    with pytest.raises(UserError, match=r"'gemma3' needs no_such_package: run in .* `make env-tor"):
        open_study(tiny(raw, "gemma3"))


@pytest.mark.parametrize(
    ("vision", "is_refused"), [("timm_wrapper", True), ("efficientnet", False), (None, True)]
)
def test_a_checkpoint_needs_timm_only_for_a_vision_encoder_of_timm(
    raw, tmp_path, monkeypatch, vision, is_refused
):
    known = dataclasses.replace(surveyed.findings()["fast_vlm"], needs=("timm",))
    monkeypatch.setitem(surveyed.findings(), "fast_vlm", known)
    monkeypatch.setattr(SurveyResult, "lacking", lambda self: [*self.needs])
    config = {"model_type": "fast_vlm", "vision_config": {"model_type": vision} if vision else {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    raw["backbones"]["mine"] = {"family": "fast_vlm", "checkpoint": str(tmp_path)}
    study = Study(load_config(raw, "config.yaml"))
    if is_refused:
        with pytest.raises(UserError, match=r"backbones.mine.family: 'fast_vlm' needs timm"):
            check_packages(study)
    else:
        check_packages(study)


def test_impossible_widths_are_refused(raw):
    with pytest.raises(UserError, match=r"backbones.mine.tiny: transformers cannot build a small 'lfm3_vl'"):
        open_study(tiny(raw, "lfm3_vl", hidden=24, heads=3, key_value_heads=3))


def test_image_tokens_without_a_place_are_refused_where_they_are_aligned(raw):
    with pytest.raises(UserError, match=r"backbones.mine: the image tokens of 'idefics2' show no places"):
        open_study(tiny(raw, "idefics2"))
    raw["pretraining"]["alignment"] = None
    open_study(raw)


def test_an_unknown_type_is_surveyed_once(raw, monkeypatch, unknown):
    asked = found_by_survey(monkeypatch)
    tiny(raw, "gemma3")
    raw["backbones"]["other"] = dict(raw["backbones"]["mine"])
    open_study(raw)
    assert asked == ["gemma3"]


def test_an_unknown_type_that_fails_is_refused(raw, monkeypatch, unknown):
    found_by_survey(monkeypatch, failed="image", reason="another image changes nothing")
    with pytest.raises(UserError, match=r"`vlm4vla survey` fails at 'image': another image changes nothing"):
        open_study(tiny(raw, "gemma3"))


def test_an_unknown_type_without_a_twin_is_checked_when_it_is_loaded(raw, tmp_path, monkeypatch, unknown):
    found_by_survey(monkeypatch, failed="twin", reason="no such layer")
    with pytest.raises(UserError, match="no such layer"):
        open_study(tiny(raw, "gemma3"))
    raw["backbones"]["mine"] = {"checkpoint": str(tmp_path), "family": "gemma3"}
    with pytest.raises(UserError, match=r"no config\.json"):
        open_study(raw)


def with_attention(raw, attention, backbone):
    raw["vla"]["execution"] = {"attention": attention}
    for benchmark in raw["benchmarks"].values():
        benchmark.pop("training", None)
    raw["tables"]["main"]["backbones"] = [backbone]
    return raw


@pytest.mark.parametrize("backbone", ["mine", "paligemma-1"])
def test_attention_without_padding_is_refused_before_a_run_where_it_is_not_causal(raw, backbone):
    with_attention(tiny(raw, "gemma3"), "flash_attention_2", backbone)
    with pytest.raises(UserError, match=rf"execution.attention: .* backbones.{backbone} has other attention"):
        open_study(raw, ["table_main"])


@pytest.mark.parametrize(
    ("attention", "backbone"), [("auto", "mine"), ("sdpa", "mine"), ("flash_attention_2", "qwen3-vl-2b")]
)
def test_other_attention_is_planned(raw, attention, backbone):
    raw["tables"]["main"]["experts"] = []
    open_study(with_attention(tiny(raw, "gemma3"), attention, backbone), ["table_main"])


@pytest.mark.parametrize(
    ("table", "cells", "training"),
    [
        ("freeze", {"variants": ["full", "freeze-vision"]}, "freeze-vision"),
        (
            "fast_injection",
            {"variants": ["full"], "auxiliaries": ["none", "fast-freeze-vision"]},
            "fast-freeze-vision",
        ),
    ],
)
def test_a_vision_encoder_that_never_learns_is_not_frozen(raw, table, cells, training):
    tiny(raw, "chameleon")
    raw["pretraining"]["alignment"] = None
    raw["tables"][table] |= {"backbones": ["mine"]} | cells
    line = rf"config.yaml: {training}: the model type 'chameleon' of backbones.mine turns images into codes"
    with pytest.raises(UserError, match=line):
        open_study(raw, [f"table_{table}"])


@pytest.mark.parametrize(
    ("family", "variant"), [("chameleon", "freeze-embedding"), ("janus", "freeze-vision")]
)
def test_other_frozen_parts_are_planned(raw, family, variant):
    tiny(raw, family)
    raw["pretraining"]["alignment"] = None
    raw["tables"]["freeze"] |= {"backbones": ["mine"], "variants": ["full", variant]}
    open_study(raw, ["table_freeze"])
