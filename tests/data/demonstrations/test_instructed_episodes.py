"""Episodes without an instruction are left out of the index, of its statistics and of provenance's frames."""

import json

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import (
    FRONT,
    LENGTHS,
    TASKS,
    TOTAL,
    actions,
    first_frames,
    shown_number,
    states,
    write_v21,
    write_v30,
)

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.encoded_pictures import copy_pictures
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.stages.demonstrations_dataset import run

MAKERS = {"v2.1": write_v21, "v3.0": write_v30}


def made(dataset, output, **how):
    wanted = Demonstrations.model_validate({"dataset": str(dataset), "camera": FRONT} | how)
    run(DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=32), output=output)
    return open_index(output)


def write_tasks(folder, texts, kind=None):
    """Replace the instructions of a dataset, also in meta/episodes."""
    if (folder / "meta/tasks.jsonl").is_file():
        lines = [json.dumps({"task_index": number, "task": text}) for number, text in enumerate(texts)]
        (folder / "meta/tasks.jsonl").write_text("\n".join(lines))
        path = folder / "meta/episodes.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps(row | {"tasks": [texts[i % 2]]}) for i, row in enumerate(rows)))
        return
    pq.write_table(
        pa.table({"task_index": [0, 1], "task": pa.array(list(texts), kind)}), folder / "meta/tasks.parquet"
    )
    (path,) = folder.glob("meta/episodes/*/*.parquet")
    table = pq.read_table(path)
    listed = pa.array([[texts[number % 2]] for number in range(len(LENGTHS))], pa.list_(pa.string()))
    pq.write_table(table.set_column(table.column_names.index("tasks"), "tasks", listed), path)


def kept_rows(episodes):
    firsts = first_frames()
    return np.concatenate([np.arange(firsts[e], firsts[e] + LENGTHS[e]) for e in episodes])


def check(index, output, episodes):
    """Compare an index with the frames of `episodes` in the dataset: numbers, pictures and statistics."""
    rows = kept_rows(episodes)
    np.testing.assert_array_equal(index.actions, actions()[rows])
    np.testing.assert_array_equal(index.states, states()[rows])
    lengths = [LENGTHS[episode] for episode in episodes]
    assert index.length.tolist() == lengths and index.first.tolist() == [0, *np.cumsum(lengths)[:-1]]
    assert index.episode.tolist() == np.repeat(np.arange(len(episodes)), lengths).tolist()
    np.testing.assert_allclose(index.stats["action"]["mean"], actions()[rows].astype(float).mean(0))
    assert index.stats["action"]["count"] == [len(rows)]
    pictures = FramePictures(index)
    assert [shown_number(pictures.original(row)) for row in range(len(rows))] == rows.tolist()
    pictures.close()
    record = json.loads((output / "provenance.json").read_text())
    left_out = {"episodes": len(LENGTHS) - len(episodes), "frames": TOTAL - len(rows)}
    assert record["frames"] == len(rows) and record.get("without_instruction") == left_out


@pytest.mark.parametrize("dtype", ["video", "image"])
@pytest.mark.parametrize("version", list(MAKERS))
@pytest.mark.parametrize("blank", ["", " \u200b", None])
def test_blank_episodes_are_left_out(tmp_path, capsys, version, dtype, blank):
    folder = MAKERS[version](tmp_path / "set", dtype)
    write_tasks(folder, (blank, f" {TASKS[1]} "))
    index = made(folder, tmp_path / "index")
    check(index, tmp_path / "index", (1, 3))
    assert index.tasks == [TASKS[1]] and set(index.task_index.tolist()) == {0}
    frames = sum(LENGTHS[0::2])
    assert f"left out 3 episodes ({frames} frames) without an instruction" in capsys.readouterr().out


def test_a_table_of_pandas_with_null_as_its_index(tmp_path):
    folder = write_v30(tmp_path / "set", "image")
    frame = pandas.DataFrame({"task_index": [0, 1]}, index=[TASKS[0], None])  # as LeRobot writes it, unnamed
    frame.to_parquet(folder / "meta/tasks.parquet")
    check(made(folder, tmp_path / "index"), tmp_path / "index", (0, 2, 4))


def test_a_column_of_nan_is_no_instruction(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    lines = '{"task_index": 0, "task": NaN}\n{"task_index": 1, "task": "lift the red block"}\n'
    (folder / "meta/tasks.jsonl").write_text(lines)
    check(made(folder, tmp_path / "index"), tmp_path / "index", (1, 3))


def change_tasks(folder, change):
    """Change the column task_index of all tables: `change` receives a list and the first row's number."""
    row = 0
    for path in sorted(folder.glob("data/*/*.parquet")):
        table = pq.read_table(path)
        values = change(table["task_index"].to_pylist(), row)
        row += table.num_rows
        place = table.column_names.index("task_index")
        pq.write_table(table.set_column(place, "task_index", pa.array(values, pa.int64())), path)


def test_an_episode_with_null_in_one_frame_is_left_out(tmp_path):
    folder = write_v30(tmp_path / "set")
    change_tasks(folder, lambda tasks, row: [None if row + i == 14 else t for i, t in enumerate(tasks)])
    index = made(folder, tmp_path / "index")
    check(index, tmp_path / "index", (0, 1, 3, 4))
    assert index.tasks == list(TASKS)


def test_several_instructions_in_an_episode_are_kept_if_none_is_blank(tmp_path):
    folder = write_v30(tmp_path / "set")
    change_tasks(folder, lambda tasks, row: [1 if row + i == 2 else t for i, t in enumerate(tasks)])
    index = made(folder, tmp_path / "index")
    assert len(index) == TOTAL and index.task_index[:4].tolist() == [0, 0, 1, 0]
    assert "without_instruction" not in json.loads((tmp_path / "index/provenance.json").read_text())


@pytest.mark.parametrize("version", list(MAKERS))
def test_a_dataset_without_any_instruction_is_one_line(tmp_path, version):
    folder = MAKERS[version](tmp_path / "set")
    write_tasks(folder, ("", None), pa.string())
    with pytest.raises(
        UserError, match=r"set: no episode has an instruction: write the texts into meta/tasks"
    ):
        made(folder, tmp_path / "index")


def test_two_texts_for_one_task_are_refused(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    (folder / "meta/tasks.jsonl").write_text(
        '{"task_index": 0, "task": ["lift", "push"]}\n{"task_index": 1, "task": ["pull"]}\n'
    )
    with pytest.raises(UserError, match=r"tasks\.jsonl: .*2 different instructions \['lift', 'push'\]"):
        made(folder, tmp_path / "index")


@pytest.mark.parametrize("version", list(MAKERS))
def test_another_task_in_meta_than_in_the_frames_is_refused(tmp_path, version):
    folder = MAKERS[version](tmp_path / "set", "image")
    change_tasks(folder, lambda tasks, row: [1 - task for task in tasks])
    line = rf"'{TASKS[0]}' for episode 0, but its frames have task_index 1, which is '{TASKS[1]}'"
    with pytest.raises(UserError, match=line):
        made(folder, tmp_path / "index")


def test_statistics_of_meta_are_those_of_the_kept_episodes(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    write_tasks(folder, ("", TASKS[1]))
    index = made(folder, tmp_path / "index", statistics="meta")
    kept = actions()[kept_rows((1, 3))].astype(float)
    np.testing.assert_allclose(index.stats["action"]["std"][:6], kept.std(0)[:6], rtol=1e-5)
    other = write_v30(tmp_path / "other", "image")  # its statistics are those of the whole dataset
    write_tasks(other, ("", TASKS[1]))
    with pytest.raises(UserError, match=r"without the episodes that have no instruction.*`statistics: data`"):
        made(other, tmp_path / "other-index", statistics="meta")


def test_copying_only_some_images_resumes(tmp_path, monkeypatch):
    """A copy that is killed after its first file goes on with the right image."""
    monkeypatch.setattr("vlm4vla.data.demonstrations.encoded_pictures.PART", 4)
    monkeypatch.setattr("vlm4vla.data.demonstrations.encoded_pictures.BATCH", 2)
    folder = write_v30(tmp_path / "set", "image")
    files = sorted(folder.glob("data/*/*.parquet"))
    kept = np.random.default_rng(0).random(TOTAL) < 0.6
    count = int(kept.sum())
    copy_pictures(files, FRONT, count, tmp_path / "whole", kept)
    parts = sorted((tmp_path / "whole").iterdir())
    assert len(parts) == -(-count // 4)
    (tmp_path / "half").mkdir()
    for part in parts[:2]:
        (tmp_path / "half" / part.name).write_bytes(part.read_bytes())
    copy_pictures(files, FRONT, count, tmp_path / "half", kept)
    for part in parts:
        assert (tmp_path / "half" / part.name).read_bytes() == part.read_bytes()
    from vlm4vla.data.demonstrations.encoded_pictures import EncodedPictures

    found = [shown_number(EncodedPictures(tmp_path / "half").picture(row)) for row in range(count)]
    assert found == np.flatnonzero(kept).tolist()
