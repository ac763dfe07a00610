"""The source of demonstrations: what is accepted, the error messages, and what reruns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.preflight import open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"
RECORDING_KEYS = {"episodes", "noise", "seed"}


@pytest.fixture
def raw(tmp_path):
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def wildcards(benchmark="bridge"):
    return SimpleNamespace(vlm="kosmos-2", auxiliary="none", variant="full", benchmark=benchmark, seed=0)


def test_recorded_demonstrations_have_no_keys_of_datasets(raw):
    """Other keys in the JSON would rerun finished studies."""
    study = Study(load_config(raw))
    stage = json.loads(study.demonstrations_settings(wildcards()))
    assert set(stage["demonstrations"]) == RECORDING_KEYS and stage["max_steps"] == 40
    assert "augmentation" not in json.loads(study.vla_settings(wildcards()))
    assert "augmentation" not in json.loads(study.config_json())["benchmarks"]["bridge"]


def with_dataset(raw, **changes):
    """A configuration that overrides config.yaml: the keys of recorded demonstrations are still there."""
    benchmark = raw["benchmarks"]["bridge"]
    benchmark["demonstrations"] |= {
        "dataset": "lab/bridge",
        "revision": "0123abc",
        "camera": "front",
    } | changes
    benchmark["colour_jitter"] = 0
    return raw


def test_with_a_dataset_the_keys_of_the_expert_rerun_nothing(raw):
    raw = with_dataset(raw)
    before = Study(load_config(raw)).demonstrations_settings(wildcards())
    raw["benchmarks"]["bridge"]["demonstrations"] |= {"episodes": 3, "noise": 0.5, "seed": 9}
    raw["benchmarks"]["bridge"]["evaluation"]["max_steps"] = 99
    assert Study(load_config(raw)).demonstrations_settings(wildcards()) == before
    assert json.loads(before)["demonstrations"]["camera"] == "front"
    raw["benchmarks"]["bridge"]["demonstrations"]["revision"] = "4567def"
    assert Study(load_config(raw)).demonstrations_settings(wildcards()) != before


def test_augmentation_reruns_only_the_training(raw):
    raw = with_dataset(raw)
    before = Study(load_config(raw))
    raw["benchmarks"]["bridge"]["augmentation"] = {"crop": 0.9, "hue": 0.05}
    after = Study(load_config(raw))
    assert after.demonstrations_settings(wildcards()) == before.demonstrations_settings(wildcards())
    augmentation = json.loads(after.vla_settings(wildcards()))["augmentation"]
    assert augmentation == {"crop": 0.9, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0.05}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"demonstrations": {"noise": 0}},
            "episodes is missing: add it, or write `dataset: <folder>`",
        ),
        ({"demonstrations": {"episodes": 2}}, "demonstrations: noise is missing"),
        ({"demonstrations": {"episodes": 2, "noise": 0, "camera": "x"}}, "camera needs a `dataset`"),
        (
            {"demonstrations": {"dataset": "x", "bounds": [1, -1]}},
            "bounds [1.0, -1.0]: write the lower bound",
        ),
        (
            {"demonstrations": {"dataset": "x", "gripper": {"open": 1, "close": 1}}},
            "and close are both 1",
        ),
        (
            {"demonstrations": {"dataset": "x", "gripper": {"open": 1, "close": -1, "hold": -1}}},
            "hold is -1, and so is close",
        ),
        (
            {"demonstrations": {"dataset": "x", "gripper": {"open": 1, "close": -1, "hodl": 0}}},
            "gripper.hodl: unknown key: did you mean 'hold'?",
        ),
        ({"demonstrations": {"dataset": "x", "keep_range": ["rol"]}}, "'rol': did you mean 'roll'?"),
        (
            {"demonstrations": {"episodes": 2, "noise": 0, "keep_range": ["x"]}},
            "keep_range needs a `dataset`",
        ),
        ({"demonstrations": {"dataset": "x", "camra": "y"}}, "camra: unknown key: did you mean 'camera'?"),
        ({"demonstrations": {"dataset": "x", "statistics": "dta"}}, "'dta': did you mean 'data'?"),
        ({"augmentation": {"crop": 0.9}}, "augmentation needs demonstrations.dataset"),
        ({"first_episodes": 5}, "first_episodes needs demonstrations.dataset"),
        ({"second_bounds": [0.65, -0.65]}, "[0.65, -0.65]: write two bounds from -1 to 1, the lower one"),
        ({"second_bounds": [-0.65, 6.5]}, "[-0.65, 6.5]: write two bounds from -1 to 1"),
        ({"shift": -3}, "shift: -3: write the largest move in pixels"),
        ({"shift": [2, 9]}, "shift: [2, 9]: write the largest move in pixels, such as 10, or the lowest"),
        ({"shift": "10"}, "shift: '10': write the largest move"),
        ({"shift": [-1, 2, 3]}, "shift: [-1, 2, 3]: write the largest move"),
        ({"demonstrations": {"dataset": "x"}, "colour_jitter": 0.1}, "colour_jitter does not apply"),
        (
            {"demonstrations": {"dataset": "x"}, "augmentation": {"crop": 0}},
            "crop: 0 is not above",
        ),
    ],
)
def test_each_error_is_one_line(raw, changes, line):
    raw["benchmarks"]["bridge"] |= {"colour_jitter": 0} | changes
    with pytest.raises(UserError) as error:
        load_config(raw)
    text = str(error.value)
    assert text.startswith("config.yaml: benchmarks.bridge") and line in text and "\n" not in text


def test_a_local_dataset_is_checked_before_any_job(raw, tmp_path):
    raw = with_dataset(raw, dataset=str(tmp_path / "none"), revision=None)
    with pytest.raises(UserError, match=r"bridge\.demonstrations\.dataset: folder .* does not exist"):
        open_study(raw)
    (tmp_path / "none/meta").mkdir(parents=True)
    with pytest.raises(UserError, match=r"meta/info\.json: not found"):
        open_study(raw)


@pytest.mark.parametrize("folder", ["/data/bridge", "~/bridge", "./bridge"])
def test_a_folder_has_no_revision(raw, folder):
    """A file that overrides paper.yaml inherits the revision."""
    with pytest.raises(
        UserError,
        match=r"demonstrations\.revision: '.*bridge' is a folder, which has no revision: write .*null",
    ):
        open_study(with_dataset(raw, dataset=folder))


def test_a_dataset_of_the_hub_is_not_downloaded_before_its_job(raw):
    assert open_study(with_dataset(raw))
