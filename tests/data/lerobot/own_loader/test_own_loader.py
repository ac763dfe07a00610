"""LeRobot's own classes read every kind of dataset that we write, and we read what they write.

LeRobot runs in its own environment (envs/lerobot), as a child process. Pictures must be equal to the
last bit.
"""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import handmade_sets as handmade
import numpy as np
import pytest
import raw_sets

from vlm4vla import cli
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.lerobot import description
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.stages import demonstrations as demonstrations_stage

REPOSITORY = Path(__file__).parents[4]
PROGRAM = REPOSITORY / "tests/support/lerobot_program.py"
LEROBOT = Path(os.environ.get("LEROBOT_PYTHON") or REPOSITORY / ".venv-lerobot/bin/python")
SIDE, FPS = 32, 15
FRONT = handmade.FRONT
NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
CAMERAS = ["observation.images.front", "observation.images.wrist"]

pytestmark = pytest.mark.skipif(
    not LEROBOT.is_file(), reason="LeRobot is not installed: run make test-lerobot, or set LEROBOT_PYTHON"
)


def lerobot(*words):
    """Run LeRobot's side, without the network and without this project's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(LEROBOT), *map(str, words)], capture_output=True, text=True, env=kept | {"HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]


def read_by_lerobot(folder, output):
    lerobot(PROGRAM, "read", folder, output)
    with np.load(output / "frames.npz") as arrays:
        found = dict(arrays)
    return SimpleNamespace(**found, **json.loads((output / "words.json").read_text()), numbers=found)


def read_by_us(folder, output, benchmark="calvin", **wanted):
    settings = DemonstrationsSettings(
        benchmark=benchmark,
        demonstrations=Demonstrations(dataset=str(folder), **wanted),
        image_size=SIDE,
    )
    demonstrations_stage.run(settings, output=output)
    index = open_index(output)
    look = FramePictures(index)
    pictures = np.stack([look.original(row) for row in range(len(index))])
    look.close()
    return index, pictures


WHOLE = ("min", "max", "mean", "std")


def assert_equal_reading(theirs, index, pictures, statistics=(*WHOLE, "q01", "q99")):
    """Two readings of one dataset: same frames, instructions, times, pictures, and action `statistics`."""
    np.testing.assert_array_equal(theirs.action, index.actions)
    np.testing.assert_array_equal(theirs.numbers["observation.state"], index.states)
    np.testing.assert_array_equal(theirs.episode_index, index.episode_index)
    assert theirs.tasks == [index.tasks[task] for task in index.task_index]
    assert theirs.lengths == index.length.tolist() and theirs.fps == index.fps
    frame = np.arange(len(index)) - index.first[index.episode]
    np.testing.assert_array_equal(theirs.frame_index, frame)
    np.testing.assert_allclose(theirs.timestamp, frame / index.fps, atol=1e-6)
    np.testing.assert_array_equal(theirs.index, np.arange(len(index)))
    assert theirs.totals == [len(index.length), len(index), len(index.tasks)]
    np.testing.assert_array_equal(theirs.pictures, pictures)
    for name in statistics:
        np.testing.assert_allclose(
            theirs.stats[name], index.stats["action"][name], rtol=1e-5, atol=1e-6, err_msg=name
        )
    for row, chunk, padded in zip(theirs.chosen, theirs.chunks, theirs.padded, strict=True):
        last = index.last_frames(np.array([row]))[0]
        rows = np.minimum(row + np.arange(len(chunk)), last)
        np.testing.assert_array_equal(chunk, index.actions[rows])
        np.testing.assert_array_equal(padded, row + np.arange(len(chunk)) > last)


def frames(lengths, side=SIDE, seed=0):
    """Random numbers, and smooth pictures of which no two are alike."""
    random = np.random.default_rng(seed)
    count = sum(lengths)
    rows, columns = np.mgrid[0:side, 0:side] * 255 // (side - 1)
    pictures = np.zeros((count, side, side, 3), dtype=np.uint8)
    pictures[..., 0], pictures[..., 1] = rows, columns
    pictures[..., 2] = (np.arange(count) * 5 % 256)[:, None, None]
    actions = random.uniform(-1, 1, (count, 7)).astype(np.float32)
    actions[:, 6] = random.choice([-1, 1], count)
    return pictures, actions, random.normal(size=(count, 8)).astype(np.float32)


@pytest.mark.parametrize("per_file", [None, 2], ids=["one file", "several files and chunks"])
@pytest.mark.parametrize("kind", ["png", "video"])
def test_lerobot_reads_what_the_writer_writes(tmp_path, kind, per_file, monkeypatch):
    monkeypatch.setattr(description, "FILES_PER_CHUNK", 2)
    lengths = (5, 1, 7, 4, 3, 6, 2)
    pictures, actions, states = frames(lengths)
    how = {"fps": FPS, "robot_type": "arm", "image_size": SIDE, "pictures": kind}
    more = {"observation.gripper_point": ("column", "row")}
    with LeRobotWriter(tmp_path / "set", **how, extra_columns=more, episodes_per_file=per_file) as writer:
        first = 0
        for episode, length in enumerate(lengths):
            own = slice(first, first + length)
            points = {"observation.gripper_point": np.zeros((length, 2))}
            writer.add_episode(pictures[own], states[own], actions[own], f"do task {episode % 3}", points)
            first += length
    chunks = sorted(path.name for path in (tmp_path / "set/data").iterdir())
    assert chunks == (["chunk-000"] if per_file is None else ["chunk-000", "chunk-001"])
    theirs = read_by_lerobot(tmp_path / "set", tmp_path / "theirs")
    assert_equal_reading(theirs, *read_by_us(tmp_path / "set", tmp_path / "ours"))
    np.testing.assert_array_equal(theirs.action, actions)
    np.testing.assert_array_equal(theirs.numbers["observation.state"], states)
    away = np.abs(theirs.pictures.astype(int) - pictures)
    assert away.max() == 0 if kind == "png" else away.mean() < 4


@pytest.mark.parametrize("benchmark", ["calvin", "bridge", "libero-10"])
def test_lerobot_reads_embedded_demonstrations(tmp_path, benchmark):
    settings = DemonstrationsSettings(
        benchmark=benchmark, demonstrations={"episodes": 3, "noise": 0.2}, image_size=SIDE, max_steps=100
    )
    demonstrations_stage.run(settings, output=tmp_path / "set")
    theirs = read_by_lerobot(tmp_path / "set", tmp_path / "theirs")
    assert_equal_reading(theirs, *read_by_us(tmp_path / "set", tmp_path / "ours", benchmark))


@pytest.mark.parametrize("kind", ["png", "video"])
@pytest.mark.parametrize("benchmark", ["calvin", "libero-10"])
def test_lerobot_reads_converted_datasets(tmp_path, benchmark, kind):
    name, write = raw_sets.WRITERS[benchmark]
    raw = write(tmp_path / "raw")
    words = ["convert", name, raw, "--output", tmp_path / "set", "--pictures", kind]
    assert cli.main([str(word) for word in words]) == 0
    theirs = read_by_lerobot(tmp_path / "set", tmp_path / "theirs")
    assert_equal_reading(theirs, *read_by_us(tmp_path / "set", tmp_path / "ours", benchmark))


def write_by_lerobot(folder, lengths, videos, cameras=1, tasks=2, **options):
    """Write a dataset with LeRobot. Returns its pictures, actions and states."""
    made = frames(lengths, side=48, seed=1)
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir(parents=True)
    np.savez(source / "frames.npz", **dict(zip(("pictures", "actions", "states"), made, strict=True)))
    words = {
        "fps": 10,
        "videos": videos,
        "cameras": CAMERAS[:cameras],
        "names": NAMES,
        "options": options,
        "episodes": [[length, f"do task {n % tasks}"] for n, length in enumerate(lengths)],
    }
    (source / "words.json").write_text(json.dumps(words))
    lerobot(PROGRAM, "write", source, folder)
    return made


SMALL = {"data_files_size_in_mb": 0.001, "video_files_size_in_mb": 0.001}  # one episode per file


@pytest.mark.parametrize("options", [{}, SMALL], ids=["one file", "several files"])
@pytest.mark.parametrize("videos", [False, True], ids=["pictures", "video"])
def test_we_read_what_lerobot_writes(tmp_path, videos, options):
    lengths = (6, 3, 8, 5, 4)
    pictures, actions, states = write_by_lerobot(tmp_path / "set", lengths, videos, cameras=2, **options)
    tables = len(list((tmp_path / "set/data").rglob("*.parquet")))
    assert tables == (len(lengths) if options else 1)
    theirs = read_by_lerobot(tmp_path / "set", tmp_path / "theirs")
    index, ours = read_by_us(tmp_path / "set", tmp_path / "ours", camera=theirs.camera)
    # The percentiles that LeRobot writes are means over the episodes.
    assert_equal_reading(theirs, index, ours, WHOLE)
    np.testing.assert_array_equal(index.actions, actions)
    np.testing.assert_array_equal(index.states, states)
    assert theirs.tasks == [
        f"do task {episode % 2}" for episode, length in enumerate(lengths) for _ in range(length)
    ]
    away = np.abs(ours.astype(int) - pictures)
    assert away.mean() < 4 if videos else away.max() == 0
    _, wrist = read_by_us(tmp_path / "set", tmp_path / "wrist", camera=CAMERAS[1])
    assert np.abs(wrist.astype(int) - pictures[:, :, ::-1]).mean() < 4


@pytest.mark.parametrize("dtype", ["video", "image"])
def test_a_dataset_of_version_2_that_lerobot_converts_is_the_same_in_all_readings(tmp_path, dtype):
    index, ours = read_by_us(handmade.write_v21(tmp_path / "old", dtype), tmp_path / "ours", camera=FRONT)
    new = handmade.write_v21(tmp_path / "new", dtype)
    info = json.loads((new / "meta/info.json").read_text())
    info |= {
        "total_chunks": 2,
        "total_videos": 10,
        "total_episodes": 5,
        "total_tasks": 2,
        "robot_type": "arm",
    }
    info["splits"] = {"train": "0:5"}
    info["features"].pop("observation.depth", None)  # which has no videos
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        dtype = "float32" if name == "timestamp" else "int64"
        info["features"][name] = {"dtype": dtype, "shape": [1], "names": None}
    (new / "meta/info.json").write_text(json.dumps(info))
    script = ["-m", "lerobot.scripts.convert_dataset_v21_to_v30", "--repo-id=local/set"]
    lerobot(*script, f"--root={new}", "--push-to-hub=false")
    assert json.loads((new / "meta/info.json").read_text())["codebase_version"] == "v3.0"
    converted, pictures = read_by_us(new, tmp_path / "converted", camera=FRONT)
    np.testing.assert_array_equal(pictures, ours)
    np.testing.assert_array_equal(converted.actions, index.actions)
    theirs = read_by_lerobot(new, tmp_path / "theirs")
    np.testing.assert_array_equal(theirs.pictures, ours)
    assert theirs.tasks == [index.tasks[task] for task in index.task_index]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "a half table": (cut, "data/*/*.parquet"),
    "no table": (Path.unlink, "data/*/*.parquet"),
    "a half video": (cut, f"videos/{CAMERAS[0]}/*/*.mp4"),
    "no video": (Path.unlink, f"videos/{CAMERAS[0]}/*/*.mp4"),
    "a half list of episodes": (cut, "meta/episodes/*/*.parquet"),
    "no list of episodes": (Path.unlink, "meta/episodes/*/*.parquet"),
    "half the instructions": (cut, "meta/tasks.parquet"),
    "no instructions": (Path.unlink, "meta/tasks.parquet"),
    "half the description": (cut, "meta/info.json"),
}


def test_damage_to_what_lerobot_writes_is_one_line_with_the_file(tmp_path):
    lengths = (6, 3, 8, 5, 4)
    write_by_lerobot(tmp_path / "set", lengths, True, **SMALL)
    read_by_us(tmp_path / "set", tmp_path / "whole")
    for damage, pattern in DAMAGE.values():
        path = sorted((tmp_path / "set").glob(pattern))[-1]
        whole = path.read_bytes()
        damage(path)
        with pytest.raises(UserError) as raised:
            read_by_us(tmp_path / "set", tmp_path / "ours")
        message = str(raised.value)
        named = path.parent.parent if "episodes: no Parquet file" in message else path
        assert str(named.relative_to(tmp_path)) in message and "\n" not in message, (pattern, message)
        path.write_bytes(whole)
    read_by_us(tmp_path / "set", tmp_path / "again")
