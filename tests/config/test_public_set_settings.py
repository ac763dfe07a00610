"""Keys of public sets below auxiliary.tasks, what is known of sets by name, and checks before any job."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.preflight import open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path) -> dict:
    given = yaml.safe_load(CONFIG.read_text())
    return given | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def data_settings(raw, task):
    made = Study(load_config(raw)).auxiliary_data_settings(SimpleNamespace(task=task))
    return json.loads(made)


def test_generated_tasks_have_the_settings_that_they_had(raw):
    assert set(data_settings(raw, "robopoint")) == {
        *("task", "train_pictures", "held_out_pictures", "image_size", "seed"),
    }
    written = json.loads(Study(load_config(raw)).config_json())
    keys = {"training", "checkpoint", "revision", "decoder"}
    assert all(set(task) == keys for task in written["auxiliary"]["tasks"].values())


def test_what_is_known_of_a_set_is_filled_in(raw):
    raw["auxiliary"]["tasks"]["robopoint"] = {"dataset": "wentao-yuan/robopoint-data", "revision": "0123abc"}
    made = data_settings(raw, "robopoint")["public"]["sets"]["robopoint"]
    assert made["layout"] == "conversations" and made["files"] == ["robopoint_1432k.json"]
    assert (made["dataset"], made["revision"]) == ("wentao-yuan/robopoint-data", "0123abc")
    assert made["pictures"] == "images" and made["columns"]["picture"] == "image"
    tuned = Study(load_config(raw)).auxiliary_settings(SimpleNamespace(vlm="kosmos-2", task="robopoint"))
    assert json.loads(tuned)["revision"] is None and json.loads(tuned)["checkpoint"] is None


def test_a_column_of_ones_own_replaces_the_known_one(raw):
    raw["auxiliary"]["tasks"]["vica-332k"] = {"dataset": "d", "revision": "r", "columns": {"group": "scene"}}
    made = data_settings(raw, "vica-332k")["public"]["sets"]["vica-332k"]
    assert made["columns"] == {
        "id": "id",
        "picture": "video",
        "conversations": "conversations",
        "group": "scene",
    }


def test_a_mixture_knows_its_sets_by_name(raw):
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
        ("robopoint", {"dataset": "a", "checkpoint": "b"}, "leave out `dataset`, or `checkpoint`"),
        ("robopoint", {"frames": 4}, "`frames` belongs to a `dataset`"),
        ("robopoint", {"pictures": "x"}, "`pictures` belongs to a `dataset`"),
        ("vqa-mix", {"dataset": "a", "mixture": {"robo2vlm": {"dataset": "b"}}}, "write one of them"),
        ("vqa-mix", {"mixture": {"robo2vlm": {"weight": 1}}}, "mixture.robo2vlm.dataset is missing"),
        (
            "vqa-mix",
            {"mixture": {"robo2vlm": {"dataset": "b"}}, "train_pictures": "all"},
            "a mixture has no end: write a number",
        ),
    ],
)
def test_bad_keys_are_one_line_each(raw, task, keys, line):
    raw["auxiliary"]["tasks"][task] = keys
    with pytest.raises(UserError) as error:
        load_config(raw)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_decoder_draws_its_own_pictures(raw):
    raw["auxiliary"]["tasks"]["omni-generation"]["dataset"] = "a"
    with pytest.raises(UserError, match=r"tasks\.omni-generation\.dataset: this task draws its own"):
        load_config(raw)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"dataset": "wentao-yuan/robopoint-data"}, "a hub name needs its commit: write `revision`"),
        ({"dataset": "{folder}"}, "has no file 'robopoint_1432k.json'"),
        ({"dataset": "{folder}", "layout": "choices"}, "column 'correct_answer' is missing"),
    ],
)
def test_a_set_that_is_not_there_is_refused_before_any_job(raw, tmp_path, keys, line):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "set").mkdir()
    row = {"id": ["1"], "image": [b"x"], "question": ["?"], "choices": ["[]"]}
    pq.write_table(pa.table(row), tmp_path / "set" / "train.parquet")
    given = {key: value.format(folder=tmp_path / "set") for key, value in keys.items()}
    raw["auxiliary"]["tasks"]["robopoint"] = given
    with pytest.raises(UserError) as error:
        open_study(raw)
    said = str(error.value)
    assert (line in said and "auxiliary.tasks.robopoint" in said) or "train.parquet" in said
    assert "\n" not in said
