"""docs/results.md describes what is really written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic_study as made
from datasets import load_dataset
from described_files import undescribed, written_paths
from undrawn_figures import undrawn
from written_study import write_everything

from vlm4vla.conventions.columns.description import FileKind, column, key, paths
from vlm4vla.conventions.columns.page import KINDS, kind_of, page
from vlm4vla.conventions.columns.parquet import with_descriptions
from vlm4vla.conventions.episodes import SCHEMA
from vlm4vla.core.artefacts import Provenance
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation import records
from vlm4vla.training.components.log import TrainLog

REPOSITORY = Path(__file__).parents[2]


def test_the_page_is_up_to_date():
    assert (REPOSITORY / "docs" / "results.md").read_text() == page(), "run `make schema`"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    with undrawn():
        return write_everything(tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("inputs"))


def test_every_column_of_every_table_is_described(written):
    files = [path for path in written.rglob("*") if path.suffix in (".csv", ".json")]
    assert {path.parent.name for path in files} >= {"tables", "analysis", "compared", "judged"}
    assert list(undescribed(written)) == []


def test_the_json_of_tables_has_the_keys_that_are_described(written):
    """Only the keys of early stops and of hinges are missing, because the synthetic study has neither."""
    files = [*written.glob("analysis/*.json"), *written.glob("published/analysis/*.json")]
    found = {path for file in files for path in written_paths(file)}
    kind = kind_of("analysis/main.json")
    missing = [each.path for each in kind.columns if not any(each.matches(path) for path in found)]
    rare = {"stopped", "stop_against", "stop_looks", "stop_states", "stop_planned", "published_note"}
    assert [path for path in missing if path[0] != "hinges" and path[-1] not in rare] == []
    assert 0 < len(missing) < len(kind.columns) / 4


def test_every_column_of_records_and_demonstrations_is_described(tmp_path):
    rollout = tmp_path / "rollouts" / "kosmos-2" / "none" / "full" / "bridge" / "seed0"
    (rollout / "shards").mkdir(parents=True)
    for name in ("episodes.parquet", "shards/00000.parquet"):
        pq.write_table(pa.table({field.name: pa.array([], field.type) for field in SCHEMA}), rollout / name)
    rng = np.random.default_rng(0)
    for pictures in ("png", "video"):
        folder = tmp_path / "demonstrations" / pictures
        with LeRobotWriter(
            folder,
            fps=5,
            robot_type="test",
            image_size=16,
            extra_columns={"observation.gripper_point": ("x", "y")},
            pictures=pictures,
        ) as writer:
            images = rng.integers(0, 255, (4, 16, 16, 3), np.uint8)
            states, actions = rng.normal(size=(4, 8)), rng.normal(size=(4, 7))
            points = {"observation.gripper_point": rng.normal(size=(4, 2)).astype(np.float32)}
            writer.add_episode(
                images, states.astype(np.float32), actions.astype(np.float32), "push the button", points
            )
        Provenance("demonstrations", {"a": 1}, {"x": folder / "meta" / "info.json"}, 0).write(
            folder / "provenance.json", files={}, episodes=1
        )
    made.write_fast_report(tmp_path)
    assert list(undescribed(tmp_path)) == []


def test_written_parquet_columns_carry_their_descriptions(tmp_path):
    """pyarrow reads them back, and `datasets` and pandas read the files as before."""
    rows = pa.table({field.name: pa.array([], field.type) for field in SCHEMA})
    records.write(tmp_path / "rollouts" / "x" / "episodes.parquet", rows)
    folder = tmp_path / "demonstrations" / "bridge"
    with LeRobotWriter(
        folder,
        fps=5,
        robot_type="test",
        image_size=16,
        extra_columns={"observation.gripper_point": ("x", "y")},
    ) as writer:
        writer.add_episode(
            np.full((4, 16, 16, 3), 7, np.uint8),
            np.ones((4, 8), np.float32),
            np.ones((4, 7), np.float32),
            "push the button",
            {"observation.gripper_point": np.ones((4, 2), np.float32)},
        )
    files = sorted(tmp_path.rglob("*.parquet"))
    assert len(files) == 4
    for file in files:
        kind = kind_of(file.relative_to(tmp_path).as_posix())
        for field in pq.read_schema(file):
            (first, *_) = [each for each in kind.columns if each.matches((field.name,))]
            assert field.metadata[b"description"].decode() == first.meaning, (file, field.name)
            assert field.metadata.get(b"unit", b"").decode() == first.unit
    frames = load_dataset("parquet", data_files=str(folder / "data" / "*" / "*.parquet"), cache_dir=tmp_path)
    assert np.asarray(frames["train"][0]["observation.images.primary"]).shape == (16, 16, 3)
    tasks = pd.read_parquet(folder / "meta" / "tasks.parquet")
    assert tasks.index.name == "task" and tasks.loc["push the button", "task_index"] == 0


def test_records_without_descriptions_merge_with_those_that_have_them(tmp_path):
    """A rollout that an earlier version began can be finished."""
    values = {"string": "a", "int64": 1, "bool": True}
    for episode, name in enumerate(("old", "new")):
        row = {field.name: values[str(field.type)] for field in SCHEMA} | {"episode": episode}
        table = pa.Table.from_pylist([row], SCHEMA)
        if name == "old":
            pq.write_table(table, tmp_path / "old.parquet")
        else:
            records.write(tmp_path / "new.parquet", table)
    merged = records.merge([tmp_path / "old.parquet", tmp_path / "new.parquet"], tmp_path / "all.parquet", 2)
    assert merged["episode"].to_pylist() == [0, 1]
    assert b"description" in pq.read_schema(tmp_path / "all.parquet").field("steps").metadata


def test_a_pattern_of_no_kind_is_an_error():
    with pytest.raises(KeyError):
        with_descriptions(SCHEMA, "nowhere/*.parquet")


def test_every_key_of_a_training_curve_is_described(tmp_path):
    folder = tmp_path / "vla" / "kosmos-2" / "none" / "full" / "bridge" / "seed0"
    folder.mkdir(parents=True)
    log = TrainLog(folder / "train.jsonl", 0)
    log.write(10, 4, loss=0.5, learning_rate=0.1, gradient_norm=1.0)
    log.close()
    assert written_paths(folder / "train.jsonl")
    assert list(undescribed(tmp_path)) == []


def test_what_is_not_described_is_told_with_what_to_add(tmp_path):
    for folder in ("tables", "rollouts/x", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tables" / "main.csv").write_text("model,new_column\n")
    pq.write_table(pa.table({"seed": [1], "luck": [2]}), tmp_path / "rollouts" / "x" / "episodes.parquet")
    (tmp_path / "rollouts" / "x" / "provenance.json").write_text('{"inputs": {"vla": {"weight": 1}}}')
    (tmp_path / "elsewhere" / "new.json").write_text("{}")
    lines = list(undescribed(tmp_path))
    assert [line.partition(": add")[0] for line in lines] == [
        "elsewhere/new.json",
        "rollouts/x/episodes.parquet: luck",
        "rollouts/x/provenance.json: inputs.vla.weight",
        "tables/main.csv: new_column",
    ]
    assert "FileKind 'Tables' in src/vlm4vla/conventions/columns" in lines[-1]


def test_paths_of_keys_follow_lists_and_names_with_dots():
    found = list(paths(json.loads('{"a": [{"b.c": 1}, {"b.c": 2, "d": {}}], "e": null}')))
    assert found == [("a",), ("a", "[]", "b.c"), ("a", "[]", "d"), ("e",)]
    kind = FileKind("t", ("*",), "", (key("a[].b*", "."), key("s", ".", whole=True), column("x.y", ".")))
    assert kind.describes(("a", "[]", "b.c")) and kind.describes(("s", "t", "u")) and kind.describes(("x.y",))
    assert not kind.describes(("a", "[]")) and not kind.describes(("x", "y"))
    assert kind.columns[0].name == "a[].b*"


def test_every_description_is_a_sentence_and_every_file_has_one_kind():
    for kind in KINDS:
        assert kind.about.endswith("."), kind.title
        for each in kind.columns:
            assert each.meaning.endswith("."), (kind.title, each.name)
    assert len({kind.title for kind in KINDS}) == len(KINDS)
    assert kind_of("published/tables/judged_x.csv").title.startswith("Judged")
    assert kind_of("published/tables/main.csv").title.startswith("The paper")
