"""LeRobot datasets from strangers: each fault of meta/ and of the tables is one line, before or in the stage.

The whole path is run: the checks before a run, then the stage that indexes the dataset.
"""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import write_v21

from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.matching import check_stated_gripper, choose
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.stages import demonstrations_dataset as stage

EPISODES, TABLES = "meta/episodes/*/*.parquet", "data/*/*.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "set"
    rng = np.random.default_rng(0)
    with LeRobotWriter(folder, fps=5, robot_type="x", image_size=16) as writer:
        for number in range(3):
            actions = rng.normal(size=(4, 7)).astype(np.float32)
            actions[:, 6] = [1, -1, 1, -1]
            states = rng.normal(size=(4, 8)).astype(np.float32)
            images = rng.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
            writer.add_episode(images, states, actions, f"task {number}")
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "set")


@pytest.fixture
def v21(tmp_path):
    """v2.1 states the paths of tables and videos in templates, which may name anything."""
    return write_v21(tmp_path / "old", "image")


def run(folder, output):
    demonstrations = {"dataset": str(folder), "gripper": {"open": 1, "close": -1}}
    settings = DemonstrationsSettings.model_validate(
        {"benchmark": "bridge", "demonstrations": demonstrations, "image_size": 16}
    )
    output.mkdir(exist_ok=True)
    metadata = read_metadata(folder)
    metadata.check_tables()
    list(metadata.episode_tasks())
    choice = choose(metadata, settings.demonstrations, "key")
    check_stated_gripper(metadata, choice, settings.demonstrations, "bridge", "key")
    stage.run(settings, output=output)


def refused(folder, *parts):
    with pytest.raises(UserError) as error:
        run(folder, folder.parent / "out")
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert all(part in message for part in parts), message
    return message


def test_the_whole_set_is_taken(folder, tmp_path):
    run(folder, tmp_path / "out")
    assert (tmp_path / "out" / "provenance.json").is_file()


def info(folder, change):
    path = folder / "meta/info.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def feature(name, **values):
    return lambda folder: info(folder, lambda record: record["features"][name].update(values))


def key(**values):
    return lambda folder: info(folder, lambda record: record.update(values))


INFO = {
    "features a list": key(features=[]),
    "features a word": key(features="action"),
    "features with lines": key(features={"a\nb": {"dtype": "x"}, "c\x85d": {"dtype": "x", "shape": 5}}),
    "a feature a number": lambda folder: info(folder, lambda r: r["features"].update(action=7)),
    "a feature a list": lambda folder: info(folder, lambda r: r["features"].update(extra=[1])),
    "a feature true": lambda folder: info(folder, lambda r: r["features"].update(extra=True)),
    "dtype a number": feature("action", dtype=32),
    "dtype a list": feature("action", dtype=["float32"]),
    "shape a number": feature("action", shape=7),
    "shape a mapping": feature("action", shape={"0": 7}),
    "shape of floats": feature("action", shape=[7.5]),
    "shape of words": feature("action", shape=["7"]),
    "shape of null": feature("observation.state", shape=[None]),
    "shape true": feature("observation.state", shape=[True]),
    "shape of lists": feature("observation.state", shape=[[8]]),
    "shape 0": feature("observation.state", shape=[0]),
    "shape 10^30": feature("observation.state", shape=[10**30]),
    "shape of 10^4 times 10^4": feature("observation.state", shape=[10**4, 10**4]),
    "names a word": feature("action", names="xyz"),
    "names true": feature("action", names=True),
    "info a list": feature("observation.images.primary", info=[1]),
    "video_info a word": feature("observation.images.primary", video_info="mp4"),
    "fps a word": key(fps="5"),
    "fps null": key(fps=None),
    "fps NaN": key(fps=float("nan")),
    "fps infinite": key(fps=float("inf")),
    "fps negative": key(fps=-5),
    "fps a list": key(fps=[5]),
    "fps 10^400": lambda folder: rewrite(folder, '"fps": 5', '"fps": 1' + "0" * 400),
    "version a list": key(codebase_version=["v3.0"]),
    "version a mapping": key(codebase_version={}),
    "data_path a list": key(data_path=["data"]),
    "total a word": key(total_frames="12"),
    "total infinite": key(total_episodes=float("inf")),
    "an integer of 5,000 digits": lambda folder: rewrite(folder, '"fps": 5', '"fps": 1' + "0" * 5000),
    "the file a list": lambda folder: (folder / "meta/info.json").write_text("[1]"),
    "the file null": lambda folder: (folder / "meta/info.json").write_text("null"),
    "the file not UTF-8": lambda folder: (folder / "meta/info.json").write_bytes(b"\xff\xfe{}"),
    "the file nested deep": lambda folder: (folder / "meta/info.json").write_text('{"a":' * 50_000),
}


def rewrite(folder, old, new):
    path = folder / "meta/info.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("features", [{}, {"a\nb": {"dtype": "float32"}}, {"\x1b[2J": {}}])
def test_other_features_than_those_of_a_policy(folder, features):
    key(features=features)(folder)
    refused(folder, "set has no feature 'action'")


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**60, 10**16])
@pytest.mark.parametrize("name", ["episode_index", "length"])
def test_numbers_of_v21_beyond_all_counts(v21, name, value):
    path = v21 / "meta" / "episodes.jsonl"
    rows = [json.loads(line) | {name: value} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"episodes\.jsonl: .* is no whole number") as error:
        read_metadata(v21)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", INFO)
def test_a_fault_of_info_json(folder, name):
    INFO[name](folder)
    refused(folder, "info.json")


STATISTICS = [
    "[]",
    "null",
    "5",
    '{"action": null}',
    '{"action": [1]}',
    '{"action": "x"}',
    '{"action": {"min": null}}',
    '{"action": {"min": [[1], [1, 2]]}}',
    '{"action": {"min": {"a": 1}}}',
    '{"action": {"max": [true, false]}}',
    '{"action": {"mean": ["1", "2"]}}',
    '{"action": {"std": [1, null]}}',
    '{"action": ' * 5000,
    '{"action": {"min": [1' + "0" * 5000 + "]}}",
]


@pytest.mark.parametrize("content", STATISTICS)
def test_a_fault_of_the_statistics(folder, content):
    (folder / "meta/stats.json").write_text(content)
    refused(folder, "stats.json")


def column(folder, pattern, name, values):
    (path,) = sorted(folder.glob(pattern))
    table = pq.read_table(path)
    values = pa.array((values * table.num_rows)[: table.num_rows])
    pq.write_table(table.set_column(table.column_names.index(name), name, values), path)


CELLS = {
    "length negative": (EPISODES, "length", [-1]),
    "length 0": (EPISODES, "length", [0]),
    "length a list": (EPISODES, "length", [[4]]),
    "length a fraction": (EPISODES, "length", [4.5]),
    "length NaN": (EPISODES, "length", [float("nan")]),
    "length true": (EPISODES, "length", [True]),
    "length 2^62": (EPISODES, "length", [2**62]),
    "episode_index a word": (EPISODES, "episode_index", ["0"]),
    "episode_index null": (EPISODES, "episode_index", [None]),
    "episode_index the same": (EPISODES, "episode_index", [1]),
    "the file of an episode negative": (EPISODES, "data/file_index", [-1]),
    "the file of an episode 10^15": (EPISODES, "data/file_index", [10**15]),
    "the chunk of an episode a word": (EPISODES, "data/chunk_index", ["0"]),
    "action null": (TABLES, "action", [None]),
    "states null": (TABLES, "observation.state", [None]),
    "states words": (TABLES, "observation.state", ["a"]),
    "action one number": (TABLES, "action", [0.5]),
    "action of two lengths": (TABLES, "action", [[0.5] * 7, [0.5] * 6]),
    "action with null": (TABLES, "action", [[0.5] * 6 + [None]]),
    "action with NaN": (TABLES, "action", [[0.5] * 6 + [float("nan")]]),
    "action with infinity": (TABLES, "action", [[float("inf")] * 7]),
    "action of mappings": (TABLES, "action", [{"a": 1}]),
    "action of lists of lists": (TABLES, "action", [[[0.5] * 7]]),
    "action empty": (TABLES, "action", [[]]),
    "timestamp null": (TABLES, "timestamp", [None]),
    "timestamp NaN": (TABLES, "timestamp", [float("nan")]),
    "timestamp a list": (TABLES, "timestamp", [[0.0, 0.2]]),
    "frame_index a word": (TABLES, "frame_index", ["0"]),
    "frame_index null": (TABLES, "frame_index", [None]),
    "frame_index descending": (TABLES, "frame_index", [3, 2, 1, 0]),
    "episode_index of frames 10^12": (TABLES, "episode_index", [10**12]),
    "task_index negative": (TABLES, "task_index", [-5]),
    "task_index 10^12": (TABLES, "task_index", [10**12]),
    "task_index a word": (TABLES, "task_index", ["0"]),
    "task_index a fraction": (TABLES, "task_index", [0.5]),
    "images words": (TABLES, "observation.images.primary", ["a.png"]),
    "images null": (TABLES, "observation.images.primary", [None]),
    "images of other bytes": (TABLES, "observation.images.primary", [{"bytes": b"x", "path": None}]),
    "images in files": (TABLES, "observation.images.primary", [{"bytes": None, "path": "../x.png"}]),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_fault_of_a_table(folder, name):
    column(folder, *CELLS[name])
    refused(folder)


@pytest.mark.parametrize("pattern", ["meta/tasks.parquet", EPISODES, TABLES])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"{}", bytes(10_000)])
def test_a_table_that_is_none(folder, pattern, content):
    (path,) = folder.glob(pattern)
    path.write_bytes(content)
    refused(folder, path.name)


EPISODE_STATISTICS = [
    {"min": [0], "max": [1], "mean": [0.5], "std": [0.1], "count": [3]},
    {"min": [0, 0, 0], "max": [1] * 3, "mean": [0.5] * 3, "std": [0.1] * 3, "count": [3]},
    {"min": [[0] * 7] * 2, "max": [[1] * 7] * 2, "mean": [[0] * 7] * 3, "std": [[0] * 7] * 2, "count": [3]},
    {"min": [0] * 7, "max": [1] * 7, "mean": [0] * 7, "std": [0] * 7, "count": []},
    {"min": [0] * 7, "max": [1] * 7, "mean": [0] * 7, "std": [0] * 7, "count": [float("inf")]},
    {"min": [0] * 7, "max": [1] * 7, "mean": [0] * 7, "std": [0] * 7, "count": [float("nan")]},
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("statistics", EPISODE_STATISTICS)
def test_statistics_of_episodes_that_do_not_fit_together(v21, statistics):
    path = v21 / "meta" / "episodes_stats.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["stats"]["action"] = statistics
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        read_metadata(v21).stats()
    except UserError as error:
        assert "episodes_stats.jsonl" in str(error) and len(str(error).splitlines()) == 1
    else:
        assert len(statistics["min"]) == 1  # NumPy takes one number for each of the seven


# Instructions -----------------------------------------------------------------------------------------------

TASKS = {
    "bytes": pa.array([b"a", b"b", b"c"]),
    "booleans": pa.array([True, False, True]),
    "floats": pa.array([0.5, float("nan"), 1.0]),
    "mappings": pa.array([{"a": 1}] * 3),
    "several texts": pa.array([["open", "close"]] * 3),
    "spaces of several kinds": pa.array(["\u200b", "\u3000", "\t\n"]),
    "dates": pa.array([1, 2, 3], pa.timestamp("s")),
    "null": pa.nulls(3),
}


@pytest.mark.parametrize("name", TASKS)
def test_instructions_that_are_none(folder, name):
    pq.write_table(pa.table({"task_index": [0, 1, 2], "task": TASKS[name]}), folder / "meta/tasks.parquet")
    refused(folder)


@pytest.mark.parametrize(
    "numbers", [[0, 1, 1], [[0], [1], [2]], [1, 2, 3], [0, 1, None], [0, 1, -2], ["0", "1", "2"], [0.5, 1, 2]]
)
def test_numbers_of_instructions_that_are_none(folder, numbers):
    table = pa.table({"task_index": numbers, "task": ["a", "b", "c"]})
    pq.write_table(table, folder / "meta/tasks.parquet")
    refused(folder, "tasks.parquet")


@pytest.mark.parametrize(
    "content", [b"{", b"", b"[" * 100_000, b"\xff", b"[]", b'{"index_columns": 5}', b"null"]
)
def test_metadata_of_pandas_that_is_none(folder, content):
    table = pa.table({"task_index": [0, 1, 2], "words": ["a", "b", "c"]})
    pq.write_table(table.replace_schema_metadata({"pandas": content}), folder / "meta/tasks.parquet")
    refused(folder, "tasks.parquet")


def test_a_text_that_is_not_utf8(folder):
    texts = pa.array([b"a", b"\xff", b"c"]).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"task_index": [0, 1, 2], "task": texts}), folder / "meta/tasks.parquet")
    refused(folder, "tasks.parquet")


@pytest.mark.parametrize("value", [None, 5, True, [], {}, "\u200b", float("nan")])
def test_instructions_of_v21_that_are_none(v21, value):
    path = v21 / "meta" / "tasks.jsonl"
    rows = [json.loads(line) | {"task": value} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError) as error:
        read_metadata(v21)
    assert len(str(error.value).splitlines()) == 1


# Paths ------------------------------------------------------------------------------------------------------

LEAVING = [
    "../outside/{episode_index}.parquet",
    "data/../../outside/{episode_index}.parquet",
    "/outside/{episode_index}.parquet",
    "//outside/{episode_index}.parquet",
    "data\\..\\{episode_index}.parquet",
    "data/{episode_index}\0.parquet",
    "..",
]
NO_TEMPLATE = [
    "data/{}.parquet",
    "data/{0}.parquet",
    "data/{episode_index!r}.parquet",
    "data/{episode_index:x}.parquet",
    "data/{episode_index:,}.parquet",
    "data/{episode_index:{episode_chunk}}.parquet",
    "data/{episode_index:100000000d}.parquet",
    "data/{episode_index.__class__}.parquet",
    "data/{episode_index[0]}.parquet",
    "data/{video_key}.parquet",
    "data/}{.parquet",
    "data/{episode_index",
]


@pytest.mark.parametrize("template", LEAVING)
def test_a_template_that_leaves_the_folder(v21, template):
    key(data_path=template)(v21)
    with pytest.raises(UserError, match=r"info\.json: data_path is .* leaves the dataset's folder") as error:
        read_metadata(v21).tables()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("template", NO_TEMPLATE)
def test_a_template_that_is_none(v21, template):
    key(data_path=template)(v21)
    with pytest.raises(UserError, match=r"info\.json: data_path is .*, which gives no path from") as error:
        read_metadata(v21).tables()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("template", ["a" * 1001, "data/" + "a" * 300, "data/" + "a\n{episode_index}", ""])
def test_a_template_of_a_name_that_no_disk_takes(v21, template):
    key(data_path=template)(v21)
    with pytest.raises(UserError) as error:
        read_metadata(v21).tables()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("camera", ["../../outside", "/outside", "a\\b", "a" * 1001, "a\0"])
def test_a_camera_whose_name_leaves_the_folder(tmp_path, camera):
    folder = write_v21(tmp_path / "old")

    def change(record):
        record["features"][camera] = record["features"].pop("observation.images.front")

    info(folder, change)
    with pytest.raises(UserError) as error:
        read_metadata(folder).videos(camera)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["meta", "data", "meta/info.json", "meta/tasks.parquet", EPISODES, TABLES])
def test_a_link_out_of_the_dataset(folder, tmp_path, name):
    (path,) = folder.glob(name)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(folder, "a link out of the folder")


def test_a_video_that_is_a_link_out_of_the_dataset(tmp_path):
    folder = write_v21(tmp_path / "old")
    path = sorted(folder.rglob("*.mp4"))[0]
    path.rename(tmp_path / "elsewhere.mp4")
    path.symlink_to(tmp_path / "elsewhere.mp4")
    metadata = read_metadata(folder)
    with pytest.raises(UserError, match="a link out of the folder"):
        metadata.videos("observation.images.front")


def test_a_dataset_in_the_hubs_cache(folder, tmp_path):
    """Every file is a link to one of the same repository, as huggingface_hub arranges them."""
    repository = tmp_path / "datasets--me--set"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        place = snapshot / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(repository / "blobs" / str(number))
        place.symlink_to(repository / "blobs" / str(number))
    run(snapshot, tmp_path / "out")
    assert (tmp_path / "out" / "provenance.json").is_file()
