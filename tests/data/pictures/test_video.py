"""Every frame of a video is found exactly, for each codec and in each order of reading."""

import numpy as np
import pytest
from handmade_sets import FPS, picture, shown_number, write_video

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.video import VideoFile, VideoFiles

COUNT = 60
CODECS = {
    "libx264": {"g": "12", "bf": "3", "crf": "12"},
    "libx264 one group": {"g": "250", "bf": "2", "crf": "12"},
    "libsvtav1": {"g": "2", "crf": "20", "preset": "12"},
    "libx265": {"g": "10", "crf": "12"},
    "mpeg4": {"g": "5", "qscale": "2"},
}


@pytest.fixture(scope="module", params=list(CODECS))
def video(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "video.mp4"
    write_video(path, range(COUNT), request.param.split()[0], CODECS[request.param])
    return path


@pytest.mark.parametrize("order", ["forward", "back", "random"])
def test_each_frame_is_found(video, order):
    places = np.arange(COUNT)
    if order == "back":
        places = places[::-1]
    elif order == "random":
        places = np.random.default_rng(0).permutation(COUNT)
    file = VideoFile(video, FPS)
    for place in places:
        found = file.frame(place / FPS)
        assert found.dtype == np.uint8 and shown_number(found) == place
        assert np.abs(found.astype(int) - picture(place)).mean() < 12
    file.close()


def test_a_time_between_frames_gives_the_closest_frame(video):
    file = VideoFile(video, FPS)
    assert shown_number(file.frame(10.4 / FPS)) == 10
    assert shown_number(file.frame(10.6 / FPS)) == 11


def test_a_time_after_the_end_is_refused(video):
    file = VideoFile(video, FPS)
    with pytest.raises(UserError, match=rf"video\.mp4: shows no frame at {COUNT / FPS:.3f} s"):
        file.frame(COUNT / FPS)
    assert shown_number(file.frame(3 / FPS)) == 3  # the file can still be read


def test_only_a_few_files_are_open(tmp_path):
    paths = [tmp_path / f"{number}.mp4" for number in range(5)]
    for number, path in enumerate(paths):
        write_video(path, range(number, number + 3))
    files = VideoFiles(FPS, most=2)
    for _ in range(2):
        for number, path in enumerate(paths):
            assert shown_number(files.frame(path, 1 / FPS)) == number + 1
            assert len(files) <= 2
    files.close()
    assert not len(files)


def test_a_file_that_is_not_a_video_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(UserError, match=r"a\.mp4: not a video"):
        VideoFiles(FPS).frame(path, 0)
    path.write_bytes(b"\0" * 1000)
    with pytest.raises(UserError, match=r"a\.mp4: not a video"):
        VideoFiles(FPS).frame(path, 0)


def test_a_damaged_video_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, range(20), options={"g": "5", "crf": "12", "movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UserError, match=r"a\.mp4: "):
        for place in range(20):
            assert shown_number(VideoFile(path, FPS).frame(place / FPS)) == place
