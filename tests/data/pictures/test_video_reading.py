"""Frames of videos of many codecs and containers, compared with a complete decoding by PyAV.

Each picture shows its number. Pixels are compared with those of the complete decoding, so a frame that was
decoded without its references would be found.
"""

from __future__ import annotations

import math
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from handmade_sets import HEIGHT, WIDTH, picture, shown_number

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.files import PictureFile, decode_picture, picture_problem
from vlm4vla.data.pictures.video import VideoFile

COUNT, RATE = 48, 25
OPEN_X264 = {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
X265 = {"x265-params": "keyint=12:open-gop=1:log-level=none"}
AV1 = {"g": "12", "preset": "12", "crf": "20"}
FILES = {
    "open.mp4": ("libx264", OPEN_X264),
    "open.mkv": ("libx264", OPEN_X264),
    "open.ts": ("libx264", OPEN_X264),
    "open.flv": ("libx264", OPEN_X264),
    "refresh.mp4": ("libx264", {"g": "12", "x264-params": "intra-refresh=1:bframes=0"}),
    "x265.mp4": ("libx265", X265),
    "x265.mkv": ("libx265", X265),
    "mpeg4.mp4": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2.mkv": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg2.ts": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg1.mp4": ("mpeg1video", {"g": "12", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12"}),
    "vp9.mp4": ("libvpx-vp9", {"g": "12"}),
    "av1.mp4": ("libsvtav1", {"g": "12", "preset": "12", "crf": "20"}),
    "av1-open.mkv": (
        "libsvtav1",
        {"g": "12", "preset": "12", "crf": "20", "svtav1-params": "irefresh-type=1"},
    ),
    "mjpeg.avi": ("mjpeg", {}),
    "ffv1.avi": ("ffv1", {}),
    "wmv.wmv": ("wmv2", {"g": "12"}),
}


def write(path, codec="libx264", options=None, times=range(COUNT), rate=RATE, **container):
    """Write a video whose frame n is shown at `times[n]` / `rate` seconds."""
    try:
        av.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"PyAV has no encoder {codec}")
    with av.open(str(path), "w", **container) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = WIDTH, HEIGHT
        if "crf" not in (options or {}):
            stream.bit_rate = 4_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number % 256), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def decoded(path):
    """Return the times in seconds, counted from the first frame, and the pixels of a complete decoding."""
    with av.open(str(path)) as file:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    times = np.array([time for time, _ in frames])
    assert (np.diff(times) > 0).all()
    return times - times[0], [pixels for _, pixels in frames]


@pytest.fixture(scope="module", params=list(FILES))
def file(request, tmp_path_factory):
    codec, options = FILES[request.param]
    return write(tmp_path_factory.mktemp("videos") / request.param, codec, options)


def test_a_frame_is_never_a_later_one(file):
    times, pixels = decoded(file)
    assert len(times) == COUNT and [shown_number(each) for each in pixels] == list(range(COUNT))
    random = np.random.default_rng(0)
    between = random.uniform(0.1, 0.9, 60) / RATE + random.choice(times, 60)
    video = VideoFile(file)
    for seconds in (*random.permutation(times), *times, *times[::-1], *between):
        expected = np.flatnonzero(times <= seconds + 1e-6)[-1]
        np.testing.assert_array_equal(video.shown(seconds), pixels[expected])
    video.close()


def test_a_picture_of_a_dataset_is_the_frame_of_its_time(file):
    times, _ = decoded(file)
    assert picture_problem(PictureFile(path=file.name), file.parent) is None
    for number in np.random.default_rng(1).permutation(COUNT)[:10]:
        for away in (0, 0.4, 0.96):
            seconds = times[number] + away / RATE
            found = decode_picture(PictureFile(path=file.name, seconds=seconds), file.parent, 48)
            assert shown_number(found) == number


@pytest.mark.parametrize("name", ["open.mp4", "x265.mp4", "mpeg4.mp4", "mpeg2.mkv", "vp9.webm", "mpeg2.ts"])
def test_demonstrations_and_questions_see_the_same_frames(name, tmp_path):
    codec, options = FILES[name]
    path = write(tmp_path / name, codec, options)
    demonstrations, questions = VideoFile(path, RATE), VideoFile(path)
    for number in np.random.default_rng(2).permutation(COUNT):
        one, two = demonstrations.frame(number / RATE), questions.shown(number / RATE)
        assert shown_number(one) == number
        np.testing.assert_array_equal(one, two)


# Times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_times_of_questions_count_from_the_first_frame(name, tmp_path):
    path = write(tmp_path / name, options={"g": "12", "bf": "2"}, times=range(40, 40 + COUNT))
    with av.open(str(path)) as file:
        begins = next(file.decode(video=0)).time
    assert begins >= 1.5
    video = VideoFile(path)
    for number in (0, 30, 7, COUNT - 1):
        assert shown_number(video.shown(number / RATE)) == number
    if path.suffix != ".ts":  # of demonstrations, meta/ has the times in the file
        assert shown_number(VideoFile(path, RATE).frame(begins + 7 / RATE)) == 7
        with pytest.raises(UserError, match=r"shows no frame at 0\.280 s"):
            VideoFile(path, RATE).frame(7 / RATE)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_frame_rate(name, tmp_path):
    times = np.cumsum(np.random.default_rng(3).integers(1, 60, COUNT))
    path = write(tmp_path / name, options=OPEN_X264, times=[int(time) for time in times - times[0]])
    shown, pixels = decoded(path)
    np.testing.assert_allclose(shown, (times - times[0]) / RATE, atol=1e-3)
    video = VideoFile(path)
    for seconds in np.random.default_rng(4).uniform(0, shown[-1], 80):
        number = np.flatnonzero(shown <= seconds)[-1]
        np.testing.assert_array_equal(video.shown(seconds), pixels[number])


def test_one_group_that_is_longer_than_every_step_back(tmp_path):
    """One frame per second, a keyframe at every 90th: the keyframe before a frame is up to 90 s away."""
    path = write(tmp_path / "a.mp4", options={**OPEN_X264, "g": "90"}, times=range(200), rate=1)
    video = VideoFile(path)
    for number in (199, 95, 89, 90, 91, 3, 178, 179, 180):
        assert shown_number(video.shown(number)) == number
        assert shown_number(VideoFile(path, 1).frame(number)) == number


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", {"live": "1"}),  # without an index
        ("a.mp4", {"movflags": "faststart"}),
    ],
)
def test_files_that_were_written_as_a_stream(name, options, tmp_path):
    path = write(tmp_path / name, options=OPEN_X264, container_options=options)
    times, pixels = decoded(path)
    video = VideoFile(path)
    for number in np.random.default_rng(5).permutation(COUNT):
        np.testing.assert_array_equal(video.shown(times[number]), pixels[number])


@pytest.mark.parametrize("seconds", [COUNT / RATE, COUNT / RATE + 100, -0.5, math.nan])
@pytest.mark.parametrize("name", ["open.mp4", "mpeg4.avi", "vp9.webm"])
def test_a_time_outside_the_video_is_refused(name, seconds, tmp_path):
    codec, options = FILES[name]
    path = write(tmp_path / name, codec, options)
    for find in (VideoFile(path).shown, VideoFile(path, RATE).frame):
        with pytest.raises(UserError, match=rf"{name}: shows no frame at ") as error:
            find(seconds)
        assert "\n" not in str(error.value)
    last = decode_picture(PictureFile(path=name, seconds=(COUNT - 0.1) / RATE), tmp_path, 48)
    assert shown_number(last) == COUNT - 1


# Files whose times cannot be used -----------------------------------------------------------------------


def without_times_of_showing(path, source):
    """Copy a video and replace the times of its packets by those of decoding, as faulty programs do."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.stream = packet.dts, stream
                new.mux(packet)
    return path


def twice(path, source):
    path.write_bytes(source.read_bytes() * 2)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: write(folder / "a.avi", options=OPEN_X264), "go backwards"),
        (lambda folder: write(folder / "a.wmv", options=OPEN_X264), "go backwards"),
        (lambda folder: write(folder / "a.wmv", "mpeg2video", {"bf": "2"}), "go backwards"),
        (lambda folder: write(folder / "a.mpg", options=OPEN_X264), "has no time"),
        (
            lambda folder: without_times_of_showing(
                folder / "a.mp4", write(folder / "b.mp4", options=OPEN_X264)
            ),
            "go backwards",
        ),
        (
            lambda folder: without_times_of_showing(
                folder / "a.mkv", write(folder / "b.mkv", "libx265", X265)
            ),
            "go backwards",
        ),
        (lambda folder: twice(folder / "a.ts", write(folder / "b.ts", options=OPEN_X264)), "go backwards"),
    ],
    ids=["avi", "wmv", "mpeg2 wmv", "mpg", "mp4", "mkv", "two joined ts"],
)
def test_times_that_go_backwards_or_are_missing_are_refused(make, reason, tmp_path):
    path = make(tmp_path)
    for picture_file in (PictureFile(path=path.name, seconds=0.5), PictureFile(path=path.name, frames=4)):
        with pytest.raises(UserError, match=rf"{path.name}: .*{reason}.*: convert it to mp4") as error:
            decode_picture(picture_file, tmp_path, 48)
        assert "\n" not in str(error.value)
    assert reason in picture_problem(PictureFile(path=path.name), tmp_path)


def test_a_cut_off_or_damaged_video_is_refused(tmp_path):
    whole = write(tmp_path / "a.mp4", options=OPEN_X264)
    cut = tmp_path / "cut.mp4"  # the index of an mp4 file is at its end
    cut.write_bytes(whole.read_bytes()[:-200])
    assert "not a video" in picture_problem(PictureFile(path=cut.name), tmp_path)
    with pytest.raises(UserError, match=r"cut\.mp4: not a video, it cannot be read"):
        decode_picture(PictureFile(path=cut.name, seconds=0.0), tmp_path, 48)
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate = 16000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    with pytest.raises(UserError, match=r"sound\.mp4: not a video"):
        decode_picture(PictureFile(path="sound.mp4", seconds=0.0), tmp_path, 48)


def test_a_file_that_is_replaced_is_read_again(tmp_path):
    """The times of a file are remembered, but not those of an older file with the same name."""
    write(tmp_path / "a.mp4", options={"bf": "2"}, times=range(12))
    with pytest.raises(UserError, match="shows no frame"):
        decode_picture(PictureFile(path="a.mp4", seconds=1.0), tmp_path, 48)
    shutil.move(write(tmp_path / "b.mp4", options={"bf": "2"}), tmp_path / "a.mp4")
    assert shown_number(decode_picture(PictureFile(path="a.mp4", seconds=1.0), tmp_path, 48)) == 25


# Work ---------------------------------------------------------------------------------------------------


class Counting(VideoFile):
    """A video that counts the frames that it decodes."""

    count = 0

    def _decoded(self):
        self.count += 1
        return super()._decoded()


@pytest.mark.parametrize("name", ["open.mp4", "x265.mkv", "mpeg2.ts", "mpeg4.avi"])
def test_reading_onwards_decodes_each_frame_once(name, tmp_path):
    codec, options = FILES[name]
    path = write(tmp_path / name, codec, options)
    for kind in ("frame", "shown"):
        video = Counting(path, RATE)
        for number in range(COUNT):
            assert shown_number(getattr(video, kind)(number / RATE)) == number
        assert video.count <= COUNT + 1


def test_a_seek_decodes_from_a_keyframe_and_not_from_the_beginning(tmp_path):
    path = write(tmp_path / "a.mp4", options={"g": "12", "bf": "0"}, times=range(250))
    video = Counting(path, RATE)
    places = np.random.default_rng(6).permutation(250)[:40]
    for number in places:
        assert shown_number(video.frame(number / RATE)) == number
    assert video.count <= 12 * len(places)
