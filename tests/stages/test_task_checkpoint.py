"""A checkpoint instead of the training on an auxiliary task: installed and scored, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fast_yaml import load_yaml
from shrunk_backbones import save_shrunk

from vlm4vla.backbones import build, hub, load
from vlm4vla.backbones.pixel_bounds import write_pixel_bounds
from vlm4vla.backbones.vocabulary import has_word_tokens
from vlm4vla.config.backbones import Backbone, PixelBounds, TinySize
from vlm4vla.config.config import load_config
from vlm4vla.config.stages import AuxiliaryDataSettings, AuxiliarySettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.stages import auxiliary as stage
from vlm4vla.stages import auxiliary_data as data_stage
from vlm4vla.stages.questions import vocabulary
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.published_configs import published_configs
from vlm4vla.workflow.preflight import open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"
TASK = "robo2vlm"


def saved(folder: Path, family: str, hidden: int = 32) -> Path:
    torch.set_num_threads(1)
    size = TinySize(hidden=hidden, intermediate=48, layers=2, vision_hidden=32, vision_intermediate=32)
    backbone = Backbone(family=family, parameters_b=1, tiny=size, pretraining="r")
    build(backbone, "tiny", vocabulary(), 64, hidden).save(folder)
    write_json(folder / "provenance.json", {"stage": "backbone"})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    settings = AuxiliaryDataSettings(
        task=TASK, train_pictures=200, held_out_pictures=60, image_size=64, seed=0
    )
    data_stage.run(settings, output=folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("base"), "paligemma")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, data):
    """A wider backbone of the same family, fine-tuned on the task."""
    wider = saved(tmp_path_factory.mktemp("wider"), "paligemma", 64)
    folder = tmp_path_factory.mktemp("tuned")
    optimiser = Optimiser(name="muon", learning_rate=4e-3)
    training = Training(steps=80, batch=16, optimiser=optimiser)
    settings = AuxiliarySettings(name="w", task=TASK, training=training, questions=60, image_size=64, seed=0)
    stage.run(settings, backbone=wider, data=data, output=folder)
    return folder


def settings(checkpoint, **changes):
    given = {"checkpoint": str(checkpoint), "training": None, "questions": 60} | changes
    return AuxiliarySettings(name="tiny", task=TASK, image_size=64, seed=0, **given)


def test_the_checkpoint_is_scored_and_installed_unchanged(tmp_path, base, tuned, data):
    stage.run(settings(tuned), backbone=base, data=data, output=tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / name).read_bytes() == (tuned / name).read_bytes()
    scores, own = (json.loads((folder / "score.json").read_text()) for folder in (tmp_path, tuned))
    assert scores["after"] == own["after"] and scores["before"]["ci_high"] < scores["after"]["ci_low"]
    assert load(tmp_path).hidden_size == 64 and load(base).hidden_size == 32
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["settings"]["checkpoint"] == str(tuned) and record["stage"] == "auxiliary"
    assert not (tmp_path / "train.jsonl").exists() and not (tmp_path / "checkpoints").exists()


def test_the_log_of_an_earlier_training_is_deleted(tmp_path, base, tuned, data):
    (tmp_path / "train.jsonl").write_text("{}")
    stage.run(settings(tuned), backbone=base, data=data, output=tmp_path)
    assert not (tmp_path / "train.jsonl").exists()


def test_another_family_is_refused(tmp_path, tuned, data):
    other = saved(tmp_path / "other", "paligemma2")
    assert has_word_tokens(load(other))
    with pytest.raises(
        UserError, match=r"robo2vlm\.checkpoint: .* is a 'paligemma', but backbone 'tiny' is a "
    ):
        stage.run(settings(tuned), backbone=other, data=data, output=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_checkpoint_of_the_hub_is_downloaded_at_its_revision(tmp_path, base, tuned, data, monkeypatch):
    requested = []

    def fetch(name, revision, patterns, key):
        requested.append((name, revision))
        return tuned

    monkeypatch.setattr(hub, "fetch", fetch)
    stage.run(settings("lab/tuned", revision="0123abc"), backbone=base, data=data, output=tmp_path)
    assert requested == [("lab/tuned", "0123abc")]
    assert (tmp_path / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()


@pytest.fixture
def raw(tmp_path):
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def test_only_a_backbone_that_uses_the_checkpoint_needs_its_family(raw, tuned):
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": str(tuned)}
    root = f"{raw['results']}/embedded"
    for stage_and_rest in (
        "auxiliary/{}/robobrain2/provenance.json",
        "capability/{}/robobrain2.json",
        "vla/{}/robobrain2/full/bridge/seed0/provenance.json",
        "rollouts/{}/robobrain2/full/bridge/seed0/episodes.parquet",
    ):
        path = f"{root}/{stage_and_rest}"
        assert open_study(raw, [path.format("paligemma-1")])
        line = r"robobrain2\.checkpoint: .* is a 'paligemma', but backbone 'kosmos-2' is a 'kosmos-2'"
        with pytest.raises(UserError, match=line):
            open_study(raw, [path.format("kosmos-2")])
    assert open_study(raw, [f"{root}/auxiliary/kosmos-2/robopoint/provenance.json"])


def test_a_cell_of_a_table_needs_its_family(raw, tuned, monkeypatch):
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": str(tuned)}
    run = Run("qwen2.5-vl-7b", "robobrain2", "full", "calvin", 0)
    monkeypatch.setattr(Study, "cells", lambda self, table: [run])
    with pytest.raises(UserError, match=r"but backbone 'qwen2\.5-vl-7b' is a 'qwen2_5_vl'"):
        open_study(raw)


@pytest.mark.parametrize("damage", ["no weights", "no folder", "truncated"])
def test_an_incomplete_checkpoint_is_refused_before_any_job(raw, tmp_path, tuned, damage):
    folder = tmp_path / "copy"
    if damage != "no folder":
        shutil.copytree(tuned, folder)
    weights = folder / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": str(folder)}
    with pytest.raises(UserError, match=r"auxiliary\.tasks\.robobrain2\.checkpoint: ") as error:
        open_study(raw)
    assert "\n" not in str(error.value)


def test_the_settings_of_a_checkpoint_have_no_training(raw, tuned):
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": "lab/tuned", "revision": "0123abcd" * 5}
    study = open_study(raw)
    made = json.loads(study.auxiliary_settings(_Wildcards("paligemma-1", "robobrain2")))
    assert made["training"] is None
    assert (made["checkpoint"], made["revision"]) == ("lab/tuned", "0123abcd" * 5)
    other = json.loads(study.auxiliary_settings(_Wildcards("paligemma-1", "robopoint")))
    assert other["training"]["steps"] == raw["auxiliary"]["training"]["steps"] and other["checkpoint"] is None


class _Wildcards:
    def __init__(self, vlm, task):
        self.vlm, self.task = vlm, task


@pytest.mark.parametrize(
    ("task", "keys", "line"),
    [
        ("robobrain2", {"checkpoint": "a", "training": "given"}, "is already trained: remove `training`"),
        ("robobrain2", {"revision": "a"}, "`revision` needs a `checkpoint` or a `dataset`: add one"),
        ("robobrain2", {"decoder": "given"}, "decoder: this task generates no images: remove this key"),
        ("omni-generation", {}, "decoder: missing: write the decoder's sizes"),
        (
            "omni-generation",
            {"decoder": "given", "checkpoint": "a"},
            "which a checkpoint does not contain: remove this key",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(raw, task, keys, line):
    given = {
        "training": raw["auxiliary"]["training"],
        "decoder": raw["auxiliary"]["tasks"]["omni-generation"]["decoder"],
    }
    raw["auxiliary"]["tasks"][task] = {k: given[k] if v == "given" else v for k, v in keys.items()}
    with pytest.raises(UserError, match=line) as error:
        load_config(raw)
    assert "\n" not in str(error.value)


def test_the_checkpoint_gets_the_image_size_of_the_backbone(tmp_path, data):
    """Each checkpoint has an image processor of its own. The backbone's bounds replace its bounds."""
    published = published_configs()["Qwen/Qwen2.5-VL-7B-Instruct"]
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for folder in (base, tuned):
        save_shrunk(published, folder)
    bounds = PixelBounds(min=28 * 28 * 256)
    write_pixel_bounds(base, bounds, "backbones.tiny")
    write_json(base / "provenance.json", {"stage": "backbone"})
    given = settings(tuned, questions=4, pixels={"min": bounds.min})
    stage.run(given, backbone=base, data=data, output=tmp_path / "out")
    images = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    for folder, patches in ((tmp_path / "out", 1024), (base, 1024), (tuned, 256)):
        assert len(load(folder).encode_images(images)["pixel_values"]) == patches
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["settings"]["pixels"] == {"min": bounds.min}
