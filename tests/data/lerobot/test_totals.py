"""A part of a dataset is refused: totals of info.json, files of v3.0 that are missing, rows of tables."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import LENGTHS, TOTAL, write_v21, write_v30

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.data.lerobot.writer import LeRobotWriter

EPISODES = len(LENGTHS)
FILES = ((0, 1), (2,), (3, 4))


def change_info(folder, **values):
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def episode_files(folder, located=True):
    """Split meta/episodes so that each table has a file of its own, which names the table if `located`."""
    whole = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(whole)
    for number, episodes in enumerate(FILES):
        part = table.take(list(episodes))
        if located:
            for key, value in (("chunk_index", 0), ("file_index", number)):
                part = part.append_column(f"data/{key}", pa.array([value] * len(part)))
        pq.write_table(part, whole.with_name(f"file-{number:03d}.parquet"))


@pytest.fixture
def v30(tmp_path):
    folder = write_v30(tmp_path / "set", "image", files=FILES)
    episode_files(folder)
    change_info(folder, total_episodes=EPISODES, total_frames=TOTAL, total_tasks=2)
    return folder


def refusal(folder):
    with pytest.raises(UserError) as error:
        read_metadata(folder).check_tables()
    assert "\n" not in str(error.value)
    return str(error.value)


def remove(folder, *names):
    for name in names:
        (folder / name).unlink()


def test_a_whole_dataset_is_accepted(v30, tmp_path):
    read_metadata(v30).check_tables()
    read_metadata(write_v21(tmp_path / "v21", "image")).check_tables()


def test_a_dataset_without_totals_is_accepted(tmp_path):
    folder = write_v30(tmp_path / "set", "image", files=FILES)
    assert "total_episodes" not in json.loads((folder / "meta/info.json").read_text())
    read_metadata(folder).check_tables()


def test_a_snapshot_without_its_last_files(v30):
    remove(v30, "data/chunk-000/file-002.parquet", "meta/episodes/chunk-000/file-002.parquet")
    line = refusal(v30)
    assert f"says 5 episodes and {TOTAL} frames, but meta/ has 3 episodes and 24 frames" in line
    assert "meta/episodes/chunk-000/file-000.parquet, meta/episodes/chunk-000/file-001.parquet" in line
    assert "data/chunk-000/file-001.parquet" in line and "missing: episodes 3 to 4" in line


def test_a_snapshot_without_files_in_its_middle(v30):
    remove(v30, "data/chunk-000/file-001.parquet", "meta/episodes/chunk-000/file-001.parquet")
    assert "missing: episode 2)" in refusal(v30)


def test_the_last_file_of_episodes_alone_is_missing(v30):
    remove(v30, "meta/episodes/chunk-000/file-002.parquet")
    assert "missing: episodes 3 to 4" in refusal(v30)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_table_that_meta_lists_is_missing(v30, number):
    remove(v30, f"data/chunk-000/file-00{number}.parquet")
    assert f"file-00{number}.parquet: not found" in refusal(v30)


def test_rows_are_counted_file_by_file(v30):
    path = v30 / "data/chunk-000/file-001.parquet"
    pq.write_table(pq.read_table(path).slice(0, 10), path)
    assert "file-001.parquet: has 10 frames, but the episodes in meta/ have 12 in this file" in refusal(v30)


def test_rows_are_counted_in_sum_if_meta_does_not_name_tables(tmp_path):
    folder = write_v30(tmp_path / "set", "image", files=FILES)
    remove(folder, "data/chunk-000/file-002.parquet")
    line = refusal(folder)
    assert (
        "has 24 frames in data/chunk-000/file-000.parquet, data/chunk-000/file-001.parquet, but the " in line
    )
    assert f"episodes in meta/ have {TOTAL}" in line


def test_half_of_a_dataset_of_version_2(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    change_info(folder, total_episodes=EPISODES)
    path = folder / "meta/episodes.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    line = refusal(folder)
    assert f"says 5 episodes and {TOTAL} frames, but meta/ has 3 episodes and 24 frames" in line
    for table in sorted(folder.glob("data/*/*.parquet"))[3:]:
        table.unlink()
    assert "missing: episodes 3 to 4" in refusal(folder)


def test_tables_of_version_2_are_counted(tmp_path):
    folder = write_v21(tmp_path / "set", "image")
    for path in sorted(folder.glob("data/*/*.parquet"))[1:3]:
        path.unlink()
    assert "episode_000001.parquet: not found (2 of 5 such files are missing)" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"total_frames": TOTAL + 1}, f"says {TOTAL + 1} frames, but meta/ has {TOTAL} frames"),
        ({"total_episodes": 4}, "says 4 episodes, but meta/ has 5 episodes"),
        ({"total_tasks": 3}, "says 3 tasks, but meta/ has 2 tasks"),
        ({"splits": {"train": "0:4", "test": "4:9"}}, "says 9 episodes, .* has 5 .*missing: episodes 5 to 8"),
        ({"total_episodes": "5"}, "total_episodes is '5': write a whole number"),
        ({"total_episodes": 10**30}, f"says {10**30} episodes, .*missing: episodes 5 to {10**30 - 1}"),
        ({"total_episodes": 10**12}, "says 1000000000000 episodes, but meta/ has 5"),
        ({"total_frames": 10**400}, "says 10+ frames, but meta/ has"),
        ({"total_tasks": 1e300}, "tasks, but meta/ has 2 tasks"),
    ],
)  # fmt: skip
def test_totals_that_differ(tmp_path, values, line):
    folder = write_v30(tmp_path / "set", "image")
    change_info(folder, **values)
    with pytest.raises(UserError, match=line):
        read_metadata(folder)


@pytest.mark.parametrize("values", [{"total_episodes": 5.0}, {"splits": {"train": "0:80%"}}, {"splits": {}}])
def test_totals_that_agree_or_say_nothing(tmp_path, values):
    folder = write_v30(tmp_path / "set", "image")
    change_info(folder, **values)
    read_metadata(folder).check_tables()


def test_recorded_demonstrations_are_compared_too(tmp_path):
    import numpy as np

    with LeRobotWriter(tmp_path, fps=5, robot_type="arm", image_size=16, episodes_per_file=1) as writer:
        for task in ("lift", "push"):
            images = np.zeros((3, 16, 16, 3), dtype=np.uint8)
            writer.add_episode(images, np.zeros((3, 8)), np.zeros((3, 7)), task)
    assert len(read_demonstrations(tmp_path)) == 6
    (tmp_path / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(UserError, match=r"says 2 episodes and 6 frames, but .* has 1 episodes and 3 frames"):
        read_demonstrations(tmp_path)
