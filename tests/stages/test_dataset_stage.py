"""The index of a LeRobot dataset: each frame, statistics, conventions, and the message of every error."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import (
    FRONT,
    HEIGHT,
    LENGTHS,
    TASKS,
    TOTAL,
    WIDTH,
    WRIST,
    actions,
    picture,
    shown_number,
    states,
    write_v21,
    write_v30,
)
from PIL import Image

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.demonstrations.matching import check_stated_gripper, choose
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.stages.demonstrations_dataset import run

SETS = {
    "v2.1 video": lambda folder: write_v21(folder),
    "v3.0 video": lambda folder: write_v30(folder),
    "v2.1 images": lambda folder: write_v21(folder, "image"),
    "v3.0 images": lambda folder: write_v30(folder, "image"),
}


def settings(dataset, benchmark="calvin", size=32, **how):
    camera = {"camera": FRONT} | how
    wanted = Demonstrations.model_validate({"dataset": str(dataset)} | camera)
    return DemonstrationsSettings(benchmark=benchmark, demonstrations=wanted, image_size=size)


def made(dataset, output, **how):
    run(settings(dataset, **how), output=output)
    return open_index(output)


@pytest.fixture(scope="module", params=list(SETS))
def dataset(request, tmp_path_factory):
    return SETS[request.param](tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return {"v2.1": write_v21(folder / "v2.1"), "v3.0": write_v30(folder / "v3.0")}


@pytest.fixture
def v30(originals, tmp_path_factory):
    return shutil.copytree(originals["v3.0"], tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture
def v21(originals, tmp_path_factory):
    return shutil.copytree(originals["v2.1"], tmp_path_factory.mktemp("sets") / "set")


def test_every_frame_is_the_correct_one(dataset, tmp_path):
    index = made(dataset, tmp_path)
    assert len(index) == TOTAL
    pictures = FramePictures(index)
    places = np.random.default_rng(0).permutation(TOTAL)
    borders = np.cumsum(LENGTHS)[:-1]
    for row in [*borders, *(borders - 1), *places, 0, TOTAL - 1]:
        original = pictures.original(int(row))
        assert original.shape == (HEIGHT, WIDTH, 3) and shown_number(original) == row
        assert np.abs(original.astype(int) - picture(row)).mean() < 12
        resized = pictures.picture(int(row))
        assert resized.shape == (32, 32, 3) and shown_number(resized) == row
    reference = Image.fromarray(original).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized, np.asarray(reference))  # of the last row
    assert sorted(pictures.reading_order(places)) == list(range(TOTAL))
    pictures.close()


def test_the_index_has_the_numbers_of_the_tables(dataset, tmp_path):
    index = made(dataset, tmp_path)
    np.testing.assert_array_equal(index.actions, actions())
    np.testing.assert_array_equal(index.states, states())
    assert isinstance(index.actions, np.memmap) and index.gripper_points is None
    assert index.length.tolist() == list(LENGTHS) and index.tasks == list(TASKS)
    assert index.task_index.tolist() == np.repeat([0, 1, 0, 1, 0], LENGTHS).tolist()
    ends = np.repeat(np.cumsum(LENGTHS) - 1, LENGTHS)
    np.testing.assert_array_equal(index.last_frames(np.arange(TOTAL)), ends)
    exact = actions().astype(float)
    for name, value in (("q01", np.quantile(exact, 0.01, axis=0)), ("min", exact.min(0))):
        np.testing.assert_allclose(index.stats["action"][name], value)
    np.testing.assert_allclose(index.stats["observation.state"]["std"], states().astype(float).std(0))
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["frames"] == TOTAL and "stats.json" in record["files"]
    assert record["source"]["files"]["meta/info.json"]


def test_the_other_camera(v30, tmp_path):
    index = made(v30, tmp_path, camera=WRIST)
    pictures = FramePictures(index)
    assert [shown_number(pictures.original(row)[:, ::-1]) for row in (0, 23, TOTAL - 1)] == [0, 23, TOTAL - 1]


def test_action_columns_in_another_order(v30, tmp_path):
    order = [3, 4, 5, 0, 1, 2, 6]
    index = made(v30, tmp_path, action="action", action_columns=order)
    np.testing.assert_array_equal(index.actions, actions()[:, order])


def test_gripper_values_are_converted_to_those_of_the_benchmark(tmp_path_factory, tmp_path):
    """Bridge: 1 opens, 0 closes; LIBERO: -1 opens, 1 closes. The dataset: 0 opens, 255 closes."""
    dataset = write_v30(tmp_path_factory.mktemp("sets") / "set", gripper=(0, 255))
    opens = actions()[:, 6] > 0
    for benchmark, own in (("bridge", (1, 0)), ("libero-10", (-1, 1))):
        how = {"benchmark": benchmark, "gripper": {"open": 0, "close": 255}}
        index = made(dataset, tmp_path / benchmark, **how)
        np.testing.assert_allclose(index.actions[:, 6], np.where(opens, *own), atol=1e-6)
        np.testing.assert_array_equal(index.actions[:, :6], actions()[:, :6])
        assert index.stats["action"]["max"][6] == pytest.approx(1)


@pytest.mark.parametrize(
    ("benchmark", "values"), [("calvin", (1, 0)), ("bridge", (1, -1)), ("libero-10", (0, 255))]
)
def test_another_gripper_convention_is_refused(tmp_path_factory, tmp_path, benchmark, values):
    dataset = write_v30(tmp_path_factory.mktemp("sets") / "set", gripper=values)
    line = rf"demonstrations\.gripper: .* ranges from {min(values)} to {max(values)}, but {benchmark}'s"
    with pytest.raises(UserError, match=line):
        made(dataset, tmp_path, benchmark=benchmark)
    assert not (tmp_path / "provenance.json").exists()


def test_a_configured_gripper_that_contradicts_the_data_is_refused(v30, tmp_path):
    how = {"benchmark": "libero-10", "gripper": {"open": 1, "close": 0}}
    line = r"ranges from -1 to 1, but `gripper` of .*demonstrations ranges from 0 to 1 \(1 opens\)"
    with pytest.raises(UserError, match=line):
        made(v30, tmp_path, **how)


def test_the_gripper_is_checked_with_the_statistics_in_meta_before_the_download(v30):
    metadata = read_metadata(v30)
    wanted = Demonstrations(dataset=str(v30), camera=FRONT, gripper={"open": 1, "close": 0})
    choice = choose(metadata, wanted, "key")
    with pytest.raises(UserError, match=r"key\.gripper: .*set \(by its meta/\) ranges from -1 to 1"):
        check_stated_gripper(metadata, choice, wanted, "libero-10", "key")
    right = wanted.model_copy(update={"gripper": None})
    check_stated_gripper(metadata, choice, right, "libero-10", "key")
    (v30 / "meta/stats.json").unlink()
    check_stated_gripper(metadata, choice, wanted, "libero-10", "key")  # without statistics there is no check


def test_bounds_replace_the_range(v30, tmp_path):
    stats = made(v30, tmp_path, bounds=[-0.65, 0.65]).stats["action"]
    assert stats["min"][:6] == [-0.65] * 6 and stats["max"][:6] == [0.65] * 6
    assert stats["max"][6] == 1 and stats["q99"][0] > 0.65


def test_bounds_in_other_units_are_refused(v30, tmp_path):
    line = r"\.bounds: \[50\.0, 90\.0\], but most values of x in .*set are between"
    with pytest.raises(UserError, match=line):
        made(v30, tmp_path, bounds=[50, 90])


def test_statistics_of_meta(v30, tmp_path):
    path = v30 / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["q01"][2] += 0.01
    path.write_text(json.dumps(stats))
    assert made(v30, tmp_path, statistics="meta").stats["action"]["q01"][2] == stats["action"]["q01"][2]
    exact = np.quantile(actions()[:, 2].astype(float), 0.01)
    assert made(v30, tmp_path, statistics="data").stats["action"]["q01"][2] == pytest.approx(exact)


def test_statistics_of_meta_are_merged_over_episodes(v21, tmp_path):
    stats = made(v21, tmp_path, statistics="meta").stats["action"]
    exact = actions().astype(float)
    for name, value in (("min", exact.min(0)), ("mean", exact.mean(0)), ("std", exact.std(0))):
        np.testing.assert_allclose(stats[name], value, rtol=1e-6)


@pytest.mark.parametrize("name", ["min", "max", "q99"])
def test_statistics_of_another_dataset_are_refused(v30, tmp_path, name):
    path = v30 / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"][name][1] += 9
    path.write_text(json.dumps(stats))
    line = rf"statistics: .*meta: {name} of action number 1 is .*these are statistics of another dataset"
    with pytest.raises(UserError, match=line):
        made(v30, tmp_path, statistics="meta")


@pytest.mark.parametrize("value", [[float("nan")] * 7, [None] * 7, "abc", {"a": 1}, [1, [2]]])
def test_statistics_of_meta_that_are_no_numbers(v30, tmp_path, value):
    path = v30 / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["q01"] = value
    path.write_text(json.dumps(stats))
    line = (
        r"meta: q01 of 'action' has values that are no finite numbers|action.q01: .*is not a list of numbers"
    )
    with pytest.raises(UserError, match=line):
        made(v30, tmp_path / "a", statistics="meta")
    for broken in ({"action": [1]}, {"action": "x"}, {"action": {"min": ["a"], "max": ["b"]}}):
        path.write_text(json.dumps(broken))
        metadata = read_metadata(v30)
        wanted = settings(v30).demonstrations
        choice = choose(metadata, wanted, "key")
        with pytest.raises(UserError, match=r"stats\.json: action"):  # before the run
            check_stated_gripper(metadata, choice, wanted, "calvin", "key")


def test_statistics_that_are_not_read_may_have_no_value(v30, tmp_path):
    path = v30 / "meta/stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["q01"] = [float("nan")] * 7
    path.write_text(json.dumps(stats))
    exact = np.quantile(actions()[:, 0].astype(np.float64), 0.01)
    assert made(v30, tmp_path / "b").stats["action"]["q01"][0] == pytest.approx(exact)


def test_an_index_with_statistics_of_another_dataset_is_refused(v30, tmp_path):
    made(v30, tmp_path)
    path = tmp_path / "stats.json"
    stats = json.loads(path.read_text())
    stats["action"]["count"] = [7]
    path.write_text(json.dumps(stats))
    line = r"stats\.json: has statistics of \[7\] actions, but the index has 39"
    with pytest.raises(UserError, match=line):
        open_index(tmp_path)


def info(folder, change):
    path = folder / "meta/info.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def narrow(record):
    record["features"]["action"]["shape"] = [6]


def joints(record):
    record["features"]["action"]["names"] = {"motors": [*(f"joint_{n}" for n in range(6)), "gripper"]}


def blind(record):
    for name in list(record["features"]):
        if record["features"][name]["dtype"] == "video":
            del record["features"][name]


@pytest.mark.parametrize(
    ("change", "how", "line"),
    [
        (
            None,
            {"camera": "observation.images.frontt"},
            r"\.camera: .* did you mean 'observ.*front'",
        ),
        (None, {"camera": None}, r"\.camera: .* several cameras: write one of .*front, .*wrist$"),
        (None, {"camera": "observation.depth"}, r"\.camera: .* has no feature 'observation\.depth'"),
        (None, {"action": "actoin"}, r"\.action: .* no feature 'actoin': did you mean 'action'"),
        (None, {"state": "observation.joints"}, r"\.state: .* no feature"),
        (None, {"action_columns": [0, 1, 2, 3, 4, 5]}, r"\.action_columns: .*write 7 indices"),
        (None, {"action_columns": [0, 1, 2, 3, 4, 5, 7]}, r"\.action_columns: .*write 7 indices from 0 to 6"),
        (
            narrow,
            {},
            r"\.action_columns: 'action' of .* has 6 numbers per frame, but the benchmark's .* 7",
        ),
        (
            joints,
            {},
            r"\.action: 'action' of .* contains joint_0, .* are motions of the end effector",
        ),
        (blind, {}, r"has no images: write a dataset with a camera"),
        (
            lambda record: record.update(codebase_version="v1.6"),
            {},
            r"codebase_version is 'v1\.6'",
        ),
        (lambda record: record.update(fps=0), {}, r"info\.json: needs `features`, and a frame rate `fps`"),
        (lambda record: record.pop("data_path"), {}, r"info\.json: needs `data_path`"),
        (
            lambda record: record.update(fps=5),
            {},
            r"episode 0 has 7 frames, .* has fewer at 5 Hz",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(v30, tmp_path, change, how, line):
    if change is not None:
        info(v30, change)
    with pytest.raises(UserError, match=line) as error:
        made(v30, tmp_path, **how)
    assert "\n" not in str(error.value) and not (tmp_path / "provenance.json").exists()


def table(folder, change, name="data/chunk-000/file-001.parquet"):
    pq.write_table(change(pq.read_table(folder / name)), folder / name)


def replaced(name, values):
    return lambda found: found.set_column(found.column_names.index(name), name, values)


def changed(name, row, value):
    def change(found):
        values = found[name].to_pylist()
        values[row] = value
        return replaced(name, pa.array(values, found.schema.field(name).type))(found)

    return change


def as_type(name, kind, convert):
    """Replace a column by one of another type."""

    def change(found):
        return replaced(name, pa.array([convert(value) for value in found[name].to_pylist()], kind))(found)

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda found: found.drop_columns(["action"]), r"file-001\.parquet: column 'action' is missing"),
        (lambda found: found.drop_columns(["task_index"]), r"column 'task_index' is missing"),
        (changed("action", 3, [0.0] * 6), r"column 'action' has lists of different lengths"),
        (changed("action", 3, None), r"column 'action' has lists of different lengths"),
        (changed("action", 3, [0.0, float("nan"), *[0.0] * 5]), r"action of row 3 .* contains NaN"),
        (changed("task_index", 0, 2), r"task_index 2, but meta/ has 2 instructions"),
        (
            as_type("task_index", pa.float64(), lambda task: task / 2),
            r"task_index 0\.5, which is no whole number",
        ),
        (as_type("task_index", pa.string(), str), r"column 'task_index' has the type string, not numbers"),
        (
            as_type("task_index", pa.list_(pa.int64()), lambda task: [task] * 2),
            r"has the type list<.*not num",
        ),
        (changed("episode_index", 3, None), r"has episode nan, frame 3 where meta/ expects episode 3"),
        (changed("timestamp", 3, None), r"frame 3 of episode 3 has the time nan s"),
        (changed("action", 3, [0.0, None, *[0.0] * 5]), r"action of row 3 \(episode 3\) contains NaN"),
        (
            as_type("action", pa.list_(pa.string()), lambda action: ["0"] * 7),
            r"the type list<.*, not numbers",
        ),
        (
            as_type("action", pa.list_(pa.float32()), lambda action: [*action, 0.0]),
            r"8 numbers where .* has 7",
        ),
        (changed("frame_index", 4, 5), r"has episode 3, frame 5 where meta/ expects episode 3, frame 4"),
        (changed("episode_index", 8, 4), r"has episode 4, frame 8 where meta/ expects episode 3"),
        (changed("timestamp", 2, 0.35), r"frame 2 of episode 3 has the time 0\.35 s, but at 10 Hz .* 0\.2 s"),
        (lambda found: found.slice(0, 14), r"has 38 frames in .*, but the episodes in meta/ have 39"),
        (lambda found: pa.concat_tables([found, found.slice(0, 1)]), r"has 40 frames in .* have 39"),
    ],
)
def test_damaged_tables_are_refused(v30, tmp_path, change, line):
    table(v30, change)
    with pytest.raises(UserError, match=line):
        made(v30, tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("meta/info.json", "info.json: not found"),
        ("meta/tasks.parquet", "tasks.parquet: not found"),
        ("meta/episodes/chunk-000/file-000.parquet", "meta/episodes: no Parquet file"),
        (f"videos/{FRONT}/chunk-000/file-001.mp4", "file-001.mp4: not found"),
    ],
)
def test_missing_files_are_refused(v30, tmp_path, name, line):
    (v30 / name).unlink()
    with pytest.raises(UserError, match=line):
        made(v30, tmp_path)


@pytest.mark.parametrize("name", ["episodes", "tasks"])
def test_invalid_lines_are_refused(v21, tmp_path, name):
    path = v21 / f"meta/{name}.jsonl"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match=rf"{name}\.jsonl: not valid JSON"):
        made(v21, tmp_path)


def test_a_missing_table_or_video_of_an_episode_is_refused(v21, tmp_path):
    (v21 / "data/chunk-001/episode_000004.parquet").rename(tmp_path / "gone.parquet")
    with pytest.raises(UserError, match=r"chunk-001/episode_000004\.parquet: not found"):
        made(v21, tmp_path / "out")
    (tmp_path / "gone.parquet").rename(v21 / "data/chunk-001/episode_000004.parquet")
    (v21 / f"videos/chunk-001/{FRONT}/episode_000003.mp4").unlink()
    with pytest.raises(UserError, match=r"episode_000003\.mp4: not found"):
        made(v21, tmp_path / "out")


def test_a_video_that_is_shorter_than_its_episode_is_refused(v30, tmp_path):
    name = f"videos/{FRONT}/to_timestamp"
    place = "meta/episodes/chunk-000/file-000.parquet"
    table(v30, lambda found: changed(name, 2, found[name][2].as_py() - 0.3)(found), place)
    with pytest.raises(UserError, match=r"file-000\.mp4: episode 2 has 12 frames, but its part of the video"):
        made(v30, tmp_path)


def test_a_video_that_cannot_be_decoded_is_refused_before_training(v30, tmp_path):
    (v30 / f"videos/{FRONT}/chunk-000/file-000.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"file-000\.mp4: not a video"):
        made(v30, tmp_path)
    assert not (tmp_path / "provenance.json").exists()


def test_a_dataset_that_was_moved_is_an_error(v30, tmp_path):
    made(v30, tmp_path)
    shutil.move(v30, v30.parent / "elsewhere")
    with pytest.raises(UserError, match=r"the dataset .* does not exist any more"):
        open_index(tmp_path)


def test_the_files_of_an_earlier_dataset_are_deleted(tmp_path_factory, tmp_path):
    made(write_v30(tmp_path_factory.mktemp("sets") / "set", "image"), tmp_path)
    assert list((tmp_path / "pictures").iterdir())
    made(write_v30(tmp_path_factory.mktemp("sets") / "set"), tmp_path)
    assert not (tmp_path / "pictures").exists()


def test_hidden_files_are_ignored(v30, tmp_path):
    (v30 / "data/chunk-000/.file-000.parquet.x1.parquet").write_bytes(b"half")
    assert len(made(v30, tmp_path)) == TOTAL


COMMAND = """
    import sys
    from vlm4vla import cli
    status = cli.main(sys.argv[1:])
    assert "mujoco" not in sys.modules and "torch" not in sys.modules
    sys.exit(status)
"""


def test_a_dataset_needs_no_simulator(v30, tmp_path):
    own = settings(v30).model_dump_json()
    words = ["demonstrations", "--settings", own, "--output", str(tmp_path)]
    command = [sys.executable, "-c", textwrap.dedent(COMMAND), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(open_index(tmp_path)) == TOTAL
