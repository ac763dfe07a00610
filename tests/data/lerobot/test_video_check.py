"""Videos whose frames do not match meta/ are refused, and videos of real encoders are accepted.

The legal files are compared with a complete decoding: the index must show the frame that each row had.
"""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from handmade_sets import (
    FPS,
    FRONT,
    HEIGHT,
    LENGTHS,
    TOTAL,
    WIDTH,
    X264,
    first_frames,
    picture,
    shown_number,
    write_v21,
    write_v30,
    write_video,
)

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.video_check import check_videos
from vlm4vla.data.pictures.video_times import frame_times
from vlm4vla.stages.demonstrations_dataset import run

THIRD = range(12, 24)  # frames of episode 2


def film(
    path, numbers, ticks, rate=FPS, base=Fraction(1, 1000), options=None, container=None, codec="libx264"
):
    """Write the frames `numbers` with the times `ticks` (multiples of `base` seconds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=options or X264)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = base
        for number, tick in zip(numbers, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = int(tick), base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def even(count, start=0.0, step=100.0):
    """Times in milliseconds."""
    return np.rint(start + step * np.arange(count))


def decoded_times(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def checked(folder):
    metadata = read_metadata(folder)
    return check_videos(metadata, metadata.videos(FRONT))


def refusal(folder):
    with pytest.raises(UserError) as error:
        checked(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def v21(tmp_path):
    return write_v21(tmp_path / "v21")


@pytest.fixture
def v30(tmp_path):
    return write_v30(tmp_path / "v30")


def third(folder):
    return folder / f"videos/chunk-000/{FRONT}/episode_000002.mp4"


@pytest.mark.parametrize(
    ("numbers", "count"),
    [
        (range(12, 22), 10),  # the last frames are missing
        (range(14, 24), 10),  # the first ones are missing
        ([*range(12, 17), *range(18, 24)], 11),  # one in the middle is missing
        (range(10, 24), 14),  # too many at the beginning
        (range(12, 25), 13),  # one too many at the end
        ([12], 1),
    ],
)
def test_another_number_of_frames(v21, numbers, count):
    write_video(third(v21), numbers)
    line = refusal(v21)
    assert "episode_000002.mp4: shows" in line
    assert f"shows {count} frames" in line and "it has 12 frames (at 10 Hz) of episode 2:" in line


@pytest.mark.parametrize("numbers", [range(23), range(25), range(1, 24), [0, *range(24)]])
def test_another_number_of_frames_in_a_shared_file(v30, numbers):
    write_video(v30 / f"videos/{FRONT}/chunk-000/file-000.mp4", numbers)
    count = len(list(numbers))
    assert f"shows {count} frames, but by meta/ it has 24 frames (at 10 Hz) of episode 0 to 2" in refusal(v30)


def test_a_missing_frame_with_its_gap_in_time(v21):
    """As many frames as rows, but the times tell that one is missing and one is too many."""
    film(third(v21), THIRD, [*even(6), *even(6, start=700)])
    assert "episode 2 shows frame 6 at 0.7 s, where info.json's fps 10 gives 0.6 s" in refusal(v21)


def test_frames_at_another_rate(v21):
    film(third(v21), THIRD, even(12, step=1000 / 15), rate=15)
    assert "episode 2 is shown at 15" in (line := refusal(v21)) and "info.json has fps 10" in line


def test_a_rate_that_drifts_away_slowly(tmp_path):
    """At 29.97 frames per second, frame 300 is 0.3 of a frame later than at 30."""
    times = np.arange(400) * 1001 / 30000
    film(
        tmp_path / "long.mp4", np.arange(400) % 256, np.rint(times * 90000), base=Fraction(1, 90000), rate=30
    )
    np.testing.assert_allclose(frame_times(tmp_path / "long.mp4"), times, atol=1e-4)
    folder = tmp_path / "set"
    one_episode(folder, 400, fps=30)
    (folder / "video.mp4").write_bytes((tmp_path / "long.mp4").read_bytes())
    line = refusal(folder)
    assert "is shown at 29.97" in line and "info.json has fps 30" in line


def one_episode(folder, count, fps):
    """Write the metadata of a v2.1 dataset of one episode, whose video is video.mp4."""
    (folder / "meta").mkdir(parents=True)
    camera = {"dtype": "video", "shape": [HEIGHT, WIDTH, 3]}
    info = {"codebase_version": "v2.1", "fps": fps, "data_path": "data.parquet", "video_path": "video.mp4"}
    (folder / "meta/info.json").write_text(json.dumps(info | {"features": {FRONT: camera}}))
    (folder / "meta/episodes.jsonl").write_text(json.dumps({"episode_index": 0, "length": count}))
    (folder / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "lift"}))


@pytest.mark.parametrize("jitter", [30, -40])
def test_one_frame_at_another_time(v21, jitter):
    ticks = even(12)
    ticks[5] += jitter
    film(third(v21), THIRD, ticks)
    assert "episode 2 shows frame 5 at 0.5" in (line := refusal(v21)) or "shows frame 5 at 0.4" in line


def test_a_little_jitter_is_accepted(v21):
    film(third(v21), THIRD, even(12) + np.random.default_rng(0).integers(0, 20, 12) * (np.arange(12) > 0))
    np.testing.assert_array_equal(checked(v21).start, 0)


def move_start(folder, episode, seconds):
    (path,) = folder.glob("meta/episodes/*/*.parquet")
    rows = pq.read_table(path).to_pylist()
    for key in ("from_timestamp", "to_timestamp"):
        rows[episode][f"videos/{FRONT}/{key}"] += seconds
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("frames", [0.3, 0.6, 1.0, -0.4, -1.0])
@pytest.mark.parametrize("episode", [1, 4])
def test_a_start_that_is_not_the_time_of_the_frame(v30, frames, episode):
    move_start(v30, episode, frames / FPS)
    line = refusal(v30)
    assert f"shows the first frame of episode {episode} at" in line
    assert f"{abs(frames):.2g} frames away" in line


def test_the_first_start_of_a_file(v30):
    move_start(v30, 3, 0.6 / FPS)
    assert "file-001.mp4: shows the first frame of episode 3 at 0 s, but meta/ has 0.06 s" in refusal(v30)


def test_a_start_that_is_rounded_is_accepted(v30):
    move_start(v30, 1, 0.004)
    checked(v30)


def test_a_span_that_is_longer_than_the_episode(v30):
    (path,) = v30.glob("meta/episodes/*/*.parquet")
    table = pq.read_table(path).to_pydict()
    table[f"videos/{FRONT}/to_timestamp"][1] += 0.2
    import pyarrow as pa

    pq.write_table(pa.table(table), path)
    assert "episode 1 has 5 frames, but its part of the video, 0.7 to 1.4 s, has more" in refusal(v30)


def test_missing_and_damaged_files(v21):
    third(v21).unlink()
    assert "episode_000002.mp4: not found" in refusal(v21)
    third(v21).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "episode_000002.mp4: not a video" in refusal(v21)
    write_video(third(v21), THIRD)
    whole = third(v21).read_bytes()
    third(v21).write_bytes(whole[: len(whole) // 2])
    assert "episode_000002.mp4: not a " in refusal(v21)
    film(third(v21), THIRD, even(12), container={"movflags": "faststart"})
    whole = third(v21).read_bytes()
    third(v21).write_bytes(whole[: len(whole) * 3 // 4])  # its index is complete, its frames are not
    assert "episode_000002.mp4: " in refusal(v21)


LEGAL = {
    "open groups of pictures (x265)": ("libx265", {"x265-params": "log-level=error:keyint=6:bframes=3"}, {}),
    "AV1, as LeRobot writes it": ("libsvtav1", {"g": "2", "crf": "20", "preset": "12"}, {}),
    "one key frame and many B-frames": ("libx264", {"g": "250", "bf": "4", "crf": "12"}, {}),
    "B-frames without an edit list": ("libx264", X264, {"use_editlist": "0"}),
    "fragments": ("libx264", X264, {"movflags": "frag_keyframe+empty_moov"}),
    "no B-frames": ("libx264", {"g": "2", "bf": "0"}, {}),
}


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("kind", list(LEGAL))
def test_files_of_real_encoders_are_accepted_and_read_frame_by_frame(tmp_path, kind, version):
    codec, options, container = LEGAL[kind]
    folder = (write_v21 if version == "v2.1" else write_v30)(tmp_path / "set")
    firsts = first_frames()
    files = {e: [e] for e in range(len(LENGTHS))} if version == "v2.1" else {0: [0, 1, 2], 1: [3, 4]}
    for number, episodes in files.items():
        name = f"chunk-{number // 3:03d}/{FRONT}/episode_{number:06d}.mp4"
        name = name if version == "v2.1" else f"{FRONT}/chunk-000/file-{number:03d}.mp4"
        path = folder / "videos" / name
        count = sum(LENGTHS[episode] for episode in episodes)
        numbers = range(firsts[episodes[0]], firsts[episodes[0]] + count)
        film(path, numbers, even(count), options=options, container=container, codec=codec)
        np.testing.assert_allclose(frame_times(path), decoded_times(path), atol=1e-9)
    wanted = Demonstrations(dataset=str(folder), camera=FRONT)
    run(
        DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=32),
        output=tmp_path / "index",
    )
    pictures = FramePictures(open_index(tmp_path / "index"))
    assert [shown_number(pictures.original(row)) for row in range(TOTAL)] == list(range(TOTAL))
    pictures.close()


@pytest.mark.parametrize(("start", "accepted"), [(200, True), (1400, True), (60, False), (150, False)])
def test_a_file_that_begins_later(v21, tmp_path, start, accepted):
    """A delay of whole frames is an encoder's; a part of a frame contradicts the times of the rows."""
    film(third(v21), THIRD, even(12, start=start))
    assert decoded_times(third(v21))[0] == pytest.approx(start / 1000)
    if not accepted:
        assert f"first frame of episode 2 at {start / 1000:g} s, but meta/ has 0 s" in refusal(v21)
        return
    starts = checked(v21).start
    np.testing.assert_allclose(starts, [0, 0, start / 1000, 0, 0])
    wanted = Demonstrations(dataset=str(v21), camera=FRONT)
    run(
        DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=32),
        output=tmp_path / "index",
    )
    pictures = FramePictures(open_index(tmp_path / "index"))
    assert [shown_number(pictures.original(row)) for row in THIRD] == list(THIRD)
