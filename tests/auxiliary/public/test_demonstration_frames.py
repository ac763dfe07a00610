"""Questions about frames of LeRobot datasets, compared with the states in the datasets."""

from __future__ import annotations

import json

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from handmade_sets import FPS as RATE
from handmade_sets import FRONT, first_frames, shown_number, write_v21, write_v30

from vlm4vla.auxiliary.public.demonstrations import DemonstrationFrames, direction, motion_questions
from vlm4vla.auxiliary.public.sample import InvalidRow
from vlm4vla.config.public_sets import MixedSet
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.data.pictures.files import decode_picture

FPS = 5
LENGTHS = (12, 3, 9)
TASKS = ("open the drawer", "lift the block", "open the drawer")


def episodes():
    random = np.random.default_rng(0)
    for number, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
        images = np.full((length, 16, 16, 3), 60 * number, dtype=np.uint8)
        images += np.arange(length, dtype=np.uint8)[:, None, None, None] * 4
        states = random.normal(scale=0.1, size=(length, 8)).astype(np.float32)
        yield images, states, random.normal(size=(length, 7)).astype(np.float32), task


@pytest.fixture
def folder(tmp_path):
    """A dataset with images in its tables, from this project's writer."""
    with LeRobotWriter(tmp_path / "set", fps=FPS, robot_type="arm", image_size=16) as writer:
        for episode in episodes():
            writer.add_episode(*episode)
    return tmp_path / "set"


def opened(folder, every=2, **keys):
    settings = MixedSet(dataset=str(folder), every=every, **keys).resolved("bridgevqa")
    return DemonstrationFrames(folder, settings)


def test_answers_agree_with_the_states(folder):
    found = list(opened(folder).read())
    states = [each[1][:, :3].astype(float) for each in episodes()]
    wanted = [(episode, frame) for episode, length in enumerate(LENGTHS) for frame in range(0, length, 2)]
    assert [sample.id for sample in found] == [f"{episode}/{frame}" for episode, frame in wanted]
    for sample, (episode, frame) in zip(found, wanted, strict=True):
        answers = dict(sample.statements)
        own = states[episode]
        assert answers["What is the robot asked to do?"] == TASKS[episode]
        motion = own[min(frame + FPS, len(own) - 1)] - own[frame]
        far = float(answers["How far does the gripper move in the next second, in centimetres?"])
        assert far == pytest.approx(100 * np.linalg.norm(motion), abs=0.51)
        word = answers["Which way does the gripper move in the next second?"]
        if np.linalg.norm(motion) < 0.01:
            assert word == "it stays"
        else:
            axis = np.argmax(np.abs(motion))
            words = (("forward", "backward"), ("left", "right"), ("up", "down"))[axis]
            assert word == words[int(motion[axis] < 0)]
        left = 100 * np.linalg.norm(own[-1] - own[frame])
        ends = answers["How far is the gripper from where the task ends, in centimetres?"]
        assert float(ends) == pytest.approx(left, abs=0.51)
        assert sample.group == f"episode {episode}"  # keeps the frames of one episode in one split
        shown = decode_picture(sample.picture, folder, 16)
        assert (shown == 60 * episode + 4 * frame).all()


def test_directions_use_the_axes_of_the_dataset(folder):
    way = np.array([-0.1, 0.02, 0.03])
    assert direction(way, ("forward", "left", "up")) == "backward"
    assert direction(way, ("right", "forward", "up")) == "left"
    assert motion_questions(np.zeros(3), "now", ("forward", "left", "up"))[0][1] == "it stays"


@pytest.mark.parametrize("count", [1, 5, 6, 7, 8, 9, 11])
def test_reading_resumes_from_every_position(folder, count):
    whole = [sample.id for sample in opened(folder).read()]
    first = opened(folder)
    stream = first.read()
    for _ in range(count):
        next(stream)
    position = json.loads(json.dumps(first.position))
    assert [sample.id for sample in opened(folder).read(position)] == whole[count:]


def videos(folder, version):
    """The same episodes as videos: one file for all episodes (v3.0), or one file per episode (v2.1)."""
    with LeRobotWriter(folder, fps=FPS, robot_type="arm", image_size=16) as writer:
        for episode in episodes():
            writer.add_episode(*episode)
    info = json.loads((folder / "meta" / "info.json").read_text())
    camera = next(name for name, one in info["features"].items() if one["dtype"] == "image")
    info["features"][camera]["dtype"] = "video"
    (table,) = [pq.read_table(path) for path in folder.glob("data/*/*.parquet")]
    table = table.drop_columns([camera])
    for path in folder.glob("data/*/*.parquet"):
        path.unlink()
    starts = np.cumsum([0, *LENGTHS])
    pictures = [each[0].repeat(4, 1).repeat(4, 2) for each in episodes()]
    if version == "v3.0":
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        film(folder / f"videos/{camera}/chunk-000/file-000.mp4", np.concatenate(pictures))
        pq.write_table(table, folder / "data" / "chunk-000" / "file-000.parquet")
        key = f"videos/{camera}"
        rows = {
            "episode_index": [0, 1, 2],
            "length": LENGTHS,
            f"{key}/chunk_index": [0, 0, 0],
            f"{key}/file_index": [0, 0, 0],
            f"{key}/from_timestamp": [float(start) / FPS for start in starts[:3]],
            f"{key}/to_timestamp": [float(end) / FPS for end in starts[1:]],
        }
        for path in folder.glob("meta/episodes/*/*.parquet"):
            pq.write_table(pa.table(rows), path)
    else:
        info |= {"codebase_version": "v2.1", "chunks_size": 1000}
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        lengths = [json.dumps({"episode_index": i, "length": count}) for i, count in enumerate(LENGTHS)]
        (folder / "meta" / "episodes.jsonl").write_text("\n".join(lengths))
        info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        for number, shown in enumerate(pictures):
            film(folder / f"videos/chunk-000/{camera}/episode_{number:06d}.mp4", shown)
            part = table.slice(int(starts[number]), LENGTHS[number])
            pq.write_table(part, folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet")
        names = pq.read_table(folder / "meta" / "tasks.parquet")
        lines = [
            json.dumps({"task_index": number, "task": text})
            for number, text in zip(names["task_index"].to_pylist(), names["task"].to_pylist(), strict=True)
        ]
        (folder / "meta" / "tasks.jsonl").write_text("\n".join(lines))
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    return folder


def film(path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
        stream.options = {"g": "2", "crf": "1"}
        for image in images:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_frames_of_videos(tmp_path, version):
    folder = videos(tmp_path / "set", version)
    found = list(opened(folder).read())
    assert len(found) == sum((length + 1) // 2 for length in LENGTHS)
    for sample in found:
        episode, frame = map(int, sample.id.split("/"))
        shown = decode_picture(sample.picture, folder, 16)
        assert abs(shown.mean() - (60 * episode + 4 * frame)) < 2  # neighbouring frames differ by 4
        assert dict(sample.statements)["What is the robot asked to do?"] == TASKS[episode]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"columns": {"picture": "observation.images.wrist"}}, "no camera 'observation.images.wrist'"),
        ({"columns": {"state": "observation.pose"}}, "column 'observation.pose' is missing"),
    ],
)
def test_missing_columns_raise(folder, keys, line):
    with pytest.raises(UserError) as error:
        opened(folder, **keys)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_an_unsupported_version_raises(folder):
    path = folder / "meta" / "info.json"
    path.write_text(path.read_text().replace('"v3.0"', '"v1.6"'))
    with pytest.raises(UserError, match=r"codebase_version is 'v1\.6'"):
        opened(folder)


def test_states_without_a_position_are_invalid_rows(folder):
    (path,) = folder.glob("data/*/*.parquet")
    table = pq.read_table(path)
    values = [[float("nan")] * 8] + table["observation.state"].to_pylist()[1:]
    place = table.column_names.index("observation.state")
    column = pa.array(values, type=table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), column), path)
    found = next(opened(folder).read())
    assert isinstance(found, InvalidRow) and "has no x, y, z in metres" in found.problem


def blank_tasks(folder, text):
    """Replace the instruction of the first and third episode."""
    path = folder / "meta/tasks.parquet"
    table = pq.read_table(path)
    column = pa.array([text, TASKS[1]], pa.string())
    pq.write_table(table.set_column(table.column_names.index("task"), "task", column), path)


@pytest.mark.parametrize("text", ["", " \u3000", None])
def test_episodes_without_an_instruction_give_no_questions(folder, text):
    blank_tasks(folder, text)
    frames = opened(folder)
    assert frames.check().record() == {"episodes": 2, "frames": LENGTHS[0] + LENGTHS[2]}
    found = list(frames.read())
    assert [sample.id for sample in found] == [f"1/{frame}" for frame in range(0, LENGTHS[1], 2)]
    assert {dict(sample.statements)["What is the robot asked to do?"] for sample in found} == {TASKS[1]}


def test_a_null_task_of_one_frame_leaves_out_its_episode(folder):
    (path,) = folder.glob("data/*/*.parquet")
    table = pq.read_table(path)
    tasks = table["task_index"].to_pylist()
    tasks[LENGTHS[0] + 1] = None
    place = table.column_names.index("task_index")
    pq.write_table(table.set_column(place, "task_index", pa.array(tasks, pa.int64())), path)
    frames = opened(folder)
    assert frames.check().record() == {"episodes": 1, "frames": LENGTHS[1]}
    assert {sample.group for sample in frames.read()} == {"episode 0", "episode 2"}


def test_a_dataset_without_any_instruction_raises(folder):
    table = pa.table({"task_index": [0, 1], "task": ["", " "]})
    pq.write_table(table, folder / "meta/tasks.parquet")
    with pytest.raises(UserError, match="no episode has an instruction"):
        opened(folder).check()


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_video_with_another_number_of_frames_raises(tmp_path, version):
    folder = videos(tmp_path / "set", version)
    assert opened(folder).check().episodes == 0
    path = sorted(folder.glob("videos/**/*.mp4"))[-1]
    film(path, np.zeros((8, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=rf"{path.name}: shows 8 frames, but by meta/ it has"):
        opened(folder).check()


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_video_whose_first_frame_is_late(tmp_path, version):
    """meta/ may state the delay of a video's first frame (v3.0), or not: the frames are the same."""
    one_file = {"files": (range(len(first_frames())),)}
    folder = write_v30(tmp_path / "set", **one_file) if version == "v3.0" else write_v21(tmp_path / "set")
    paths = [path for path in folder.rglob("*.mp4") if FRONT in path.parts]
    assert paths
    for path in paths:
        delay(path, frames=2)

    def numbers():
        samples = opened(folder, every=3, columns={"picture": FRONT})
        samples.check()
        found = {}
        for sample in samples.read():
            episode, frame = map(int, sample.id.split("/"))
            found[first_frames()[episode] + frame] = shown_number(decode_picture(sample.picture, folder, 64))
        return found

    found = numbers()
    assert len(found) > 10 and all(number == shown for number, shown in found.items())
    if version == "v3.0":
        path = folder / "meta/episodes/chunk-000/file-000.parquet"
        table = pq.read_table(path)
        for name in (f"videos/{FRONT}/from_timestamp", f"videos/{FRONT}/to_timestamp"):
            times = pc.add(table[name], 2 / RATE)
            table = table.set_column(table.column_names.index(name), name, times)
        pq.write_table(table, path)
        assert numbers() == found


def delay(path, frames):
    """Copy the packets of a video with later times."""
    late = path.with_suffix(".late.mp4")
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        ticks = round(frames / RATE / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, copy
                target.mux(packet)
    late.replace(path)


def change_rows(folder, change):
    for path in folder.glob("data/*/*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda t: t.take([1, 0, *range(2, len(t))]),
            "has episode 0, frame 1 where meta/ expects .* frame 0",
        ),
        (
            lambda t: with_column(t, "timestamp", pc.add(t["timestamp"], 0.3)),
            "frame 0 of episode 0 has the time",
        ),
        (
            lambda t: with_column(t, "task_index", pc.add(t["task_index"], 9)),
            r"task_index \d+, but meta/ has",
        ),
        (
            lambda t: with_column(t, "task_index", pc.divide(pc.add(t["task_index"], 1.0), 8)),
            "no whole number",
        ),
        (
            lambda t: with_column(t, "frame_index", t["frame_index"].cast("string")),
            "the type string, not numb",
        ),
    ],
)
def test_rows_that_are_not_those_of_meta_raise(folder, change, line):
    change_rows(folder, change)
    with pytest.raises(UserError, match=line):
        opened(folder).check()


def test_the_time_is_optional(folder):
    before = [sample.statements for sample in opened(folder).read()]
    change_rows(folder, lambda table: table.drop_columns(["timestamp"]))
    assert [sample.statements for sample in opened(folder).read()] == before


def test_states_that_are_texts_are_invalid_rows(folder):
    words = pa.array([["a", "b", "c"]] * sum(LENGTHS))
    change_rows(folder, lambda table: with_column(table, "observation.state", words))
    found = list(opened(folder).read())
    assert found and all(
        isinstance(each, InvalidRow) and "no x, y, z in metres" in each.problem for each in found
    )
