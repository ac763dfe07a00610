"""Written datasets are read back, by this package and by `datasets`. Each error is one line."""

import io
import json

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.data.lerobot.writer import LeRobotWriter

LENGTHS = (5, 3, 7)
TASKS = ("open the drawer", "lift the red block", "open the drawer")


def episodes():
    random = np.random.default_rng(0)
    for length, task in zip(LENGTHS, TASKS, strict=True):
        images = random.integers(0, 256, (length, 16, 16, 3), dtype=np.uint8)
        states = random.normal(size=(length, 8)).astype(np.float32)
        yield images, states, random.normal(size=(length, 7)).astype(np.float32), task


def write(folder):
    with LeRobotWriter(folder, fps=10, robot_type="arm", image_size=16) as writer:
        for episode in episodes():
            writer.add_episode(*episode)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "set")


@pytest.fixture
def frames(folder):
    return folder / "data" / "chunk-000" / "file-000.parquet"


def test_round_trip(folder):
    images, _, actions, _ = (list(part) for part in zip(*episodes(), strict=True))
    found = read_demonstrations(folder)
    np.testing.assert_array_equal(found.images, np.concatenate(images))
    np.testing.assert_array_equal(found.actions, np.concatenate(actions))
    assert found.episode_index.tolist() == np.repeat([0, 1, 2], LENGTHS).tolist()
    assert found.frame_index.tolist() == [*range(5), *range(3), *range(7)]
    assert found.instructions == np.repeat(TASKS, LENGTHS).tolist()
    assert found.tasks == ["open the drawer", "lift the red block"]
    assert read_demonstrations(folder, images=False).images is None


def test_extra_columns(tmp_path):
    points = [np.random.default_rng(1).uniform(size=(length, 2)).astype(np.float32) for length in LENGTHS]
    more = {"observation.gripper_point": ("column", "row")}
    with LeRobotWriter(tmp_path, fps=10, robot_type="arm", image_size=16, extra_columns=more) as writer:
        for episode, own in zip(episodes(), points, strict=True):
            with pytest.raises(ValueError, match="gripper_point"):
                writer.add_episode(*episode, {"observation.gripper_point": own[:-1]})
            writer.add_episode(*episode, {"observation.gripper_point": own})
    found = read_demonstrations(tmp_path)
    np.testing.assert_array_equal(found.gripper_points, np.concatenate(points))
    np.testing.assert_array_equal(found.states, np.concatenate([states for _, states, _, _ in episodes()]))
    feature = found.info["features"]["observation.gripper_point"]
    assert feature == {"dtype": "float32", "shape": [2], "names": ["column", "row"]}
    assert found.stats["observation.gripper_point"]["mean"] == pytest.approx(
        np.concatenate(points).mean(0), abs=1e-6
    )


def test_optional_columns_may_be_missing(folder, frames):
    assert read_demonstrations(folder).gripper_points is None
    table = pq.read_table(frames)
    pq.write_table(table.drop_columns(["observation.state"]), frames)
    assert read_demonstrations(folder).states is None


def test_datasets_reads_the_frames(folder, frames, tmp_path):
    table = datasets.Dataset.from_parquet(str(frames), cache_dir=str(tmp_path / "cache"))
    images, states, actions, _ = (np.concatenate(part) if not isinstance(part[0], str) else part
                                  for part in zip(*episodes(), strict=True))  # fmt: skip
    assert isinstance(table.features["observation.images.primary"], datasets.Image)
    assert table.features["action"].length == 7
    np.testing.assert_array_equal(np.asarray(table[6]["observation.images.primary"]), images[6])
    np.testing.assert_array_equal(np.float32(table[6]["observation.state"]), states[6])
    np.testing.assert_array_equal(np.float32(table[6]["action"]), actions[6])
    assert table[6]["timestamp"] == pytest.approx(0.1) and table[6]["index"] == 6


def test_metadata_is_version_3(folder):
    info = json.loads((folder / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 15, 2)
    assert info["data_path"].format(chunk_index=0, file_index=0) == "data/chunk-000/file-000.parquet"
    assert set(info["features"]) == set(pq.read_schema(folder / "data/chunk-000/file-000.parquet").names)
    assert info["features"]["action"]["shape"] == [7]
    assert info["features"]["observation.images.primary"]["dtype"] == "image"
    tasks = pd.read_parquet(folder / "meta" / "tasks.parquet")  # the instructions are the index
    assert tasks.loc["lift the red block", "task_index"] == 1
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in rows] == list(LENGTHS)
    spans = [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows]
    assert spans == [(0, 5), (5, 8), (8, 15)]
    assert rows[1]["tasks"] == ["lift the red block"]


def test_statistics_equal_those_computed_by_numpy(folder):
    stats = read_demonstrations(folder, images=False).stats
    images, states, actions, _ = (list(part) for part in zip(*episodes(), strict=True))
    for name, values in (("action", actions), ("observation.state", states)):
        values = np.concatenate(values).astype(np.float64)
        expected = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        expected |= {"q01": np.quantile(values, 0.01, axis=0), "q99": np.quantile(values, 0.99, axis=0)}
        for key, value in expected.items():
            np.testing.assert_allclose(stats[name][key], value, atol=1e-9)
        assert stats[name]["count"] == [15]
    pixels = np.concatenate(images).reshape(-1, 3) / 255
    picture = stats["observation.images.primary"]
    for key, value in (("mean", pixels.mean(0)), ("std", pixels.std(0)), ("max", pixels.max(0))):
        np.testing.assert_allclose(np.array(picture[key])[:, 0, 0], value, atol=1e-9)
    np.testing.assert_allclose(
        np.array(picture["q99"])[:, 0, 0], np.quantile(pixels, 0.99, axis=0), atol=1 / 255
    )


def test_the_same_episodes_give_the_same_bytes(folder, tmp_path):
    again = write(tmp_path / "again")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    for name in files:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_a_writer_that_fails_leaves_no_dataset(tmp_path):
    with (
        pytest.raises(RuntimeError),
        LeRobotWriter(tmp_path, fps=1, robot_type="arm", image_size=16) as writer,
    ):
        writer.add_episode(*next(episodes()))
        raise RuntimeError
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_writer_refuses_nan_and_other_shapes(tmp_path):
    images, states, actions, task = next(episodes())
    with LeRobotWriter(tmp_path, fps=1, robot_type="arm", image_size=16) as writer:
        with pytest.raises(ValueError, match="NaN"):
            writer.add_episode(images, states, np.full_like(actions, np.nan), task)
        with pytest.raises(ValueError, match="'action': \\(5, 6\\)"):
            writer.add_episode(images, states, actions[:, :6], task)
        with pytest.raises(ValueError, match="images"):
            writer.add_episode(images[:2], states, actions, task)
        assert writer.add_episode(images, states, actions, task) == 0


def rewrite(path, change):
    pq.write_table(change(pq.read_table(path)), path)


def replaced(name, values):
    return lambda table: table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize("name", ["action", "observation.images.primary", "task_index", "episode_index"])
def test_a_missing_column_is_named(folder, frames, name):
    rewrite(frames, lambda table: table.drop_columns([name]))
    with pytest.raises(UserError, match=rf"file-000\.parquet: column '{name}' is missing"):
        read_demonstrations(folder)


@pytest.mark.parametrize("fixed", [True, False])
def test_another_action_size_is_named(folder, frames, fixed):
    kind = pa.list_(pa.float32(), 6) if fixed else pa.list_(pa.float32())
    rewrite(frames, replaced("action", pa.array([[0.0] * 6] * 15, kind)))
    with pytest.raises(UserError, match=r"column 'action' has 6 numbers: write 7"):
        read_demonstrations(folder)


def test_lists_of_variable_length_type_are_read_if_their_size_is_correct(folder, frames):
    rewrite(frames, replaced("action", pa.array([[0.5] * 7] * 15, pa.list_(pa.float64()))))
    assert read_demonstrations(folder).actions.dtype == np.float32


def test_nan_is_named_with_episode_and_frame(folder, frames):
    actions = np.zeros((15, 7), dtype=np.float32)
    actions[6, 2] = np.nan
    rewrite(frames, replaced("action", pa.array(actions.tolist(), pa.list_(pa.float32(), 7))))
    with pytest.raises(UserError, match=r"action of episode 1, frame 1 contains NaN"):
        read_demonstrations(folder, images=False)


def test_a_task_without_instruction_is_named(folder, frames):
    rewrite(frames, replaced("task_index", pa.array([5] * 15)))
    with pytest.raises(UserError, match=r"tasks\.parquet: has 2 tasks, but a frame has task_index 5"):
        read_demonstrations(folder)


def test_a_truncated_table_is_named(folder, frames):
    frames.write_bytes(frames.read_bytes()[:-50])
    with pytest.raises(UserError, match="not a complete Parquet file"):
        read_demonstrations(folder)


@pytest.mark.parametrize("name", ["info.json", "stats.json", "tasks.parquet"])
def test_missing_metadata_is_named(folder, name):
    (folder / "meta" / name).unlink()
    with pytest.raises(UserError, match=f"{name}: not found"):
        read_demonstrations(folder)


def test_another_version_is_named(folder):
    path = folder / "meta" / "info.json"
    path.write_text(path.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(UserError, match=r"codebase_version is 'v2\.1'"):
        read_demonstrations(folder)


def test_images_of_two_sizes_are_named(folder, frames):
    def png(side):
        buffer = io.BytesIO()
        Image.new("RGB", (side, side)).save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    values = pa.array([png(16)] * 14 + [png(8)], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    rewrite(frames, replaced("observation.images.primary", values))
    with pytest.raises(UserError, match=r"image of row 14 is \(8, 8\) pixels, the first is \(16, 16\)"):
        read_demonstrations(folder)


def test_a_damaged_image_is_named(folder, frames):
    images = pq.read_table(frames)["observation.images.primary"].to_pylist()
    images[4]["bytes"] = images[4]["bytes"][:100]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rewrite(frames, replaced("observation.images.primary", pa.array(images, kind)))
    with pytest.raises(UserError, match="image of row 4 cannot be read"):
        read_demonstrations(folder)
