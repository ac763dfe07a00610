"""Large datasets: written as videos and in several files, and resumed after a kill."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import zlib

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.lerobot.reader import IMAGE
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.stages.demonstrations_dataset import run

SIDE, FPS, COUNT = 32, 15, 11
SOURCE = {"made": "here", "pictures": 1}


def episodes():
    """Yield episodes of smooth images, which a codec keeps well. Blue encodes the episode and the frame."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] * 255 // (SIDE - 1)
    for number in range(COUNT):
        length = int(random.integers(3, 8))
        images = np.zeros((length, SIDE, SIDE, 3), dtype=np.uint8)
        images[..., 0], images[..., 1] = rows, columns
        images[..., 2] = 20 * number + 2 * np.arange(length)[:, None, None]
        actions = random.uniform(-1, 1, (length, 7)).astype(np.float32)
        actions[:, 6] = random.choice([-1, 1], length)
        yield images, random.normal(size=(length, 8)).astype(np.float32), actions, f"do task {number % 3}"


def write(folder, pictures, per_file=4, identity=SOURCE):
    how = {"fps": FPS, "robot_type": "arm", "image_size": SIDE, "pictures": pictures}
    with LeRobotWriter(folder, **how, episodes_per_file=per_file, identity=identity) as writer:
        for episode in list(episodes())[writer.done :]:
            writer.add_episode(*episode)
    return folder


@pytest.fixture(scope="module", params=["video", "png"])
def whole(request, tmp_path_factory):
    return request.param, write(tmp_path_factory.mktemp("whole") / "set", request.param)


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_are_those_of_the_format(whole):
    pictures, folder = whole
    names = set(files_of(folder))
    tables = {f"data/chunk-000/file-{n:03d}.parquet" for n in range(3)}
    videos = (
        {f"videos/{IMAGE}/chunk-000/file-{n:03d}.mp4" for n in range(3)} if pictures == "video" else set()
    )
    meta = {"info.json", "stats.json", "tasks.parquet", "episodes/chunk-000/file-000.parquet"}
    # There are no records of an unfinished dataset.
    assert names == tables | videos | {f"meta/{name}" for name in meta}
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["features"][IMAGE]["dtype"] == ("video" if pictures == "video" else "image")
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["data/file_index"] for row in rows] == [0] * 4 + [1] * 4 + [2] * 3
    if pictures == "video":
        name = info["video_path"].format(video_key=IMAGE, chunk_index=0, file_index=1)
        with av.open(str(folder / name)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264" and stream.average_rate == FPS
        held = [row for row in rows if row[f"videos/{IMAGE}/file_index"] == 1]
        assert len(frames) == sum(row["length"] for row in held)
        assert held[0][f"videos/{IMAGE}/from_timestamp"] == 0
        assert held[-1][f"videos/{IMAGE}/to_timestamp"] == pytest.approx(len(frames) / FPS)
        info = info["features"][IMAGE]["info"]
        assert (info["video.codec"], info["video.fps"], info["video.height"]) == ("h264", FPS, SIDE)


def test_a_written_dataset_is_indexed_frame_by_frame(whole, tmp_path):
    pictures, folder = whole
    settings = DemonstrationsSettings(
        benchmark="calvin", demonstrations=Demonstrations(dataset=str(folder)), image_size=SIDE
    )
    run(settings, output=tmp_path)
    index = open_index(tmp_path)
    images, states, actions, _ = (list(part) for part in zip(*episodes(), strict=True))
    images = np.concatenate(images)
    np.testing.assert_array_equal(index.actions, np.concatenate(actions))
    np.testing.assert_array_equal(index.states, np.concatenate(states))
    look = FramePictures(index)
    for row in range(len(index)):
        away = np.abs(look.original(row).astype(int) - images[row])
        assert away.max() == 0 if pictures == "png" else away.mean() < 4
        blue = look.original(row)[..., 2].mean()
        assert np.argmin(np.abs(images[:, 0, 0, 2] - blue)) == row or pictures == "video"
    stats = json.loads((folder / "meta/stats.json").read_text())
    for name in ("q01", "q99", "min"):
        np.testing.assert_allclose(index.stats["action"][name], stats["action"][name], rtol=1e-6)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    import test_lerobot_writer as made
    from vlm4vla.data.lerobot.writer import LeRobotWriter
    add = LeRobotWriter.add_episode
    def killing(self, *episode):
        if self.done == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return add(self, *episode)
    LeRobotWriter.add_episode = killing
    made.write(Path({folder!r}), {pictures!r})
"""


def kill(folder, pictures, at):
    paths = sys.path
    script = textwrap.dedent(KILLED.format(paths=paths, folder=str(folder), pictures=pictures, at=at))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_killed_writer_resumes_and_writes_the_same_bytes(whole, tmp_path):
    pictures, folder = whole
    for at in (6, 9):  # twice: in the second file and in the third
        kill(tmp_path / "set", pictures, at)
        assert not (tmp_path / "set/meta/info.json").exists()
    first = tmp_path / "set/data/chunk-000/file-000.parquet"
    time = first.stat().st_mtime_ns
    write(tmp_path / "set", pictures)
    assert first.stat().st_mtime_ns == time  # the file was kept
    assert files_of(tmp_path / "set") == files_of(folder)


@pytest.mark.parametrize(("camera", "filters"), [("still", {0}), ("noisy", {1})])
def test_frames_with_noise_are_stored_as_differences(tmp_path, camera, filters):
    """Nothing changes between the frames of a still camera. Noise changes all, but neighbours are alike."""
    random = np.random.default_rng(1)
    texture = random.integers(0, 256, (SIDE, SIDE, 3))
    folder, shown = tmp_path / "set", []
    with LeRobotWriter(folder, fps=FPS, robot_type="arm", image_size=SIDE, pictures="png") as writer:
        for images, *rest in episodes():
            noisy = images + random.integers(-4, 5, images.shape)
            still = np.broadcast_to(texture, images.shape)
            images = np.clip(noisy if camera == "noisy" else still, 0, 255).astype(np.uint8)
            writer.add_episode(images, *rest)
            shown.extend(images)
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")[IMAGE].to_pylist()
    for image, row in zip(shown, rows, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row["bytes"]))), image)
    # the first byte of the first row of pixels, after the header, a chunk's header, and those of the stream
    found = {zlib.decompress(row["bytes"][41:-16])[0] for row in rows}
    assert found == filters


def test_an_unfinished_dataset_of_another_source_is_kept(tmp_path):
    kill(tmp_path / "set", "png", 6)
    before = files_of(tmp_path / "set")
    with pytest.raises(UserError, match=r"set: contains an unfinished dataset of another source, .*'here'"):
        write(tmp_path / "set", "png", identity=SOURCE | {"made": "there"})
    assert files_of(tmp_path / "set") == before


def test_a_folder_with_other_files_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty and not an unfinished dataset"):
        write(tmp_path, "png")


def test_a_video_needs_an_even_size(tmp_path):
    with pytest.raises(ValueError, match="a video needs an even image size, not 33"):
        LeRobotWriter(tmp_path, fps=1, robot_type="arm", image_size=33, pictures="video")
