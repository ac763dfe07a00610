"""The keys of public datasets in auxiliary.tasks, known layouts, and the checks before any job."""

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


@pytest.fixture
def raw(tmp_path) -> dict:
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def data_settings(raw, task):
    made = Study(load_config(raw)).auxiliary_data_settings(SimpleNamespace(task=task))
    return json.loads(made)


def test_generated_tasks_have_no_keys_of_datasets(raw):
    assert set(data_settings(raw, "robopoint")) == {
        *("task", "train_pictures", "held_out_pictures", "image_size", "seed"),
    }
    written = json.loads(Study(load_config(raw)).config_json())
    keys = {"training", "checkpoint", "revision", "decoder"}
    assert all(set(task) == keys for task in written["auxiliary"]["tasks"].values())


def test_the_layout_of_a_known_dataset_is_filled_in(raw):
    raw["auxiliary"]["tasks"]["robopoint"] = {"dataset": "wentao-yuan/robopoint-data", "revision": "0123abc"}
    made = data_settings(raw, "robopoint")["public"]["sets"]["robopoint"]
    assert made["layout"] == "conversations" and made["files"] == ["robopoint_1432k.json"]
    assert (made["dataset"], made["revision"]) == ("wentao-yuan/robopoint-data", "0123abc")
    assert made["pictures"] == "images" and made["columns"]["picture"] == "image"
    tuned = Study(load_config(raw)).auxiliary_settings(SimpleNamespace(vlm="kosmos-2", task="robopoint"))
    assert json.loads(tuned)["revision"] is None and json.loads(tuned)["checkpoint"] is None


def test_a_configured_column_overrides_the_known_one(raw):
    raw["auxiliary"]["tasks"]["vica-332k"] = {"dataset": "d", "revision": "r", "columns": {"group": "scene"}}
    made = data_settings(raw, "vica-332k")["public"]["sets"]["vica-332k"]
    assert made["columns"] == {
        "id": "id",
        "picture": "video",
        "conversations": "conversations",
        "group": "scene",
    }


def test_the_layouts_in_a_mixture_are_known_by_name(raw):
    raw["auxiliary"]["tasks"]["vqa-mix"] = {
        "train_pictures": 500,
        "mixture": {
            "robo2vlm": {"dataset": "keplerccc/Robo2VLM-1", "revision": "r", "weight": 2, "split": "test"},
            "general": {"dataset": "g", "revision": "r", "layout": "conversations", "files": ["*.json"]},
        },
    }
    made = data_settings(raw, "vqa-mix")["public"]
    assert made["train_pictures"] == 500
    assert {name: each["weight"] for name, each in made["sets"].items()} == {"robo2vlm": 2.0, "general": 1.0}
    assert made["sets"]["robo2vlm"]["files"][0] == "data/test-*.parquet"


@pytest.mark.parametrize(
    ("task", "keys", "line"),
    [
        ("robobrain2", {"dataset": "a"}, "tasks.robobrain2.layout is missing: write one of conversations"),
        ("robopoint", {"dataset": "a", "layout": "tables"}, "layout: unknown value 'tables'"),
        ("robopoint", {"dataset": "a", "columns": {"picure": "x"}}, "columns.picure: unknown part of a row"),
        ("robo2vlm", {"dataset": "a", "layout": "conversations"}, "tasks.robo2vlm.files is missing"),
        ("robopoint", {"dataset": "a", "held_out": 1}, "held_out"),
        ("robopoint", {"dataset": "a", "checkpoint": "b"}, "cannot belong to both"),
        ("robopoint", {"frames": 4}, "`frames` needs a `dataset`"),
        ("robopoint", {"pictures": "x"}, "`pictures` needs a `dataset`"),
        ("vqa-mix", {"dataset": "a", "mixture": {"robo2vlm": {"dataset": "b"}}}, "write one of them"),
        ("vqa-mix", {"mixture": {"robo2vlm": {"weight": 1}}}, "mixture.robo2vlm.dataset is missing"),
        (
            "vqa-mix",
            {"mixture": {"robo2vlm": {"dataset": "b"}}, "train_pictures": "all"},
            "a mixture never ends: write a number",
        ),
    ],
)
def test_each_error_is_one_line(raw, task, keys, line):
    raw["auxiliary"]["tasks"][task] = keys
    with pytest.raises(UserError) as error:
        load_config(raw)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_task_with_a_decoder_refuses_a_dataset(raw):
    raw["auxiliary"]["tasks"]["omni-generation"]["dataset"] = "a"
    with pytest.raises(UserError, match=r"tasks\.omni-generation\.dataset: this task generates its own"):
        load_config(raw)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"dataset": "wentao-yuan/robopoint-data"}, "a hub name needs a revision: write `revision`"),
        ({"dataset": "{folder}"}, "has no file that matches 'robopoint_1432k.json'"),
        ({"dataset": "{folder}", "layout": "choices"}, "column 'correct_answer' is missing"),
    ],
)
def test_a_dataset_that_does_not_exist_is_refused_before_any_job(raw, tmp_path, keys, line):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "set").mkdir()
    row = {"id": ["1"], "image": [b"x"], "question": ["?"], "choices": ["[]"]}
    pq.write_table(pa.table(row), tmp_path / "set" / "train.parquet")
    values = {key: value.format(folder=tmp_path / "set") for key, value in keys.items()}
    raw["auxiliary"]["tasks"]["robopoint"] = values
    with pytest.raises(UserError) as error:
        open_study(raw)
    message = str(error.value)
    assert (line in message and "auxiliary.tasks.robopoint" in message) or "train.parquet" in message
    assert "\n" not in message
