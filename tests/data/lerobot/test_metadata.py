"""Damaged or unusual metadata of LeRobot datasets: one line that names the file and the place."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import FRONT, TASKS, write_v21, write_v30

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.metadata import read_metadata

EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def change_info(folder, **values):
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_column(folder, name, change):
    table = pq.read_table(folder / EPISODES)
    column = pa.array([change(row, value) for row, value in enumerate(table[name].to_pylist())])
    pq.write_table(table.set_column(table.column_names.index(name), name, column), folder / EPISODES)


def refusal(folder):
    with pytest.raises(UserError) as error:
        metadata = read_metadata(folder)
        metadata.check_tables()
        metadata.videos(FRONT)
        list(metadata.episode_tasks())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    ["length", "episode_index", *(f"videos/{FRONT}/{key}" for key in ("from_timestamp", "file_index"))],
)
def test_null_and_texts_in_the_table_of_episodes(tmp_path, name):
    folder = write_v30(tmp_path / "null")
    change_column(folder, name, lambda row, value: None if row == 1 else value)
    assert f"{EPISODES}: column {name!r} has null in 1 of 5 places" in refusal(folder)
    folder = write_v30(tmp_path / "text")
    change_column(folder, name, lambda row, value: str(value))
    assert f"{EPISODES}: column {name!r} has the type string, not numbers" in refusal(folder)


def test_an_episode_with_two_texts_for_one_task(tmp_path):
    folder = write_v30(tmp_path / "set")
    change_column(folder, "tasks", lambda row, value: [["open it", "close it"]])
    assert "a task of an episode has 2 different instructions" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 39.5, "39", True])
def test_totals_that_are_no_whole_numbers(tmp_path, value):
    folder = write_v30(tmp_path / "set", "image")
    change_info(folder, total_frames=value)
    assert f"info.json: total_frames is {value!r}: write a whole number" in refusal(folder)


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize("value", [None, 7, "videos/{camera}.mp4", "{", "{video_key.a}"])
def test_a_template_that_gives_no_path(tmp_path, write, value):
    folder = write(tmp_path / "set")
    change_info(folder, video_path=value)
    assert f"info.json: video_path is {value!r}, which gives no path from video_key" in refusal(folder)


@pytest.mark.parametrize("value", [0, -3, "abc", 1.5, None])
def test_chunks_without_a_size(tmp_path, value):
    folder = write_v21(tmp_path / "set", "image")
    change_info(folder, chunks_size=value)
    assert f"info.json: chunks_size is {value!r}: write a whole number above 0" in refusal(folder)


def lines(folder, name, change):
    path = folder / f"meta/{name}.jsonl"
    rows = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.7, None, "1", True])
@pytest.mark.parametrize(("name", "key"), [("tasks", "task_index"), ("episodes", "length")])
def test_a_line_without_a_whole_number_is_shown(tmp_path, name, key, value):
    folder = write_v21(tmp_path / "set", "image")
    lines(folder, name, lambda row: row | {key: value})
    line = refusal(folder)
    assert f"meta/{name}.jsonl: {key} of the line {{" in line and "is no whole number" in line


def test_a_line_without_a_task_is_named(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    lines(folder, "tasks", lambda row: {"task_index": row["task_index"]} if row["task_index"] else row)
    assert "meta/tasks.jsonl: task_index 1 has no `task`" in refusal(folder)


def test_a_line_with_two_texts_is_named(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    lines(folder, "tasks", lambda row: row | {"task": [row["task"], TASKS[0]]})
    assert "meta/tasks.jsonl: task_index 1 has 2 different instructions" in refusal(folder)
