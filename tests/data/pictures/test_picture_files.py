"""Images decoded on demand, compared with Pillow and PyAV."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.files import PictureFile, decode_picture, decode_pictures, picture_problem

COLOURS = [(250, 20, 20), (20, 250, 20), (20, 20, 250), (240, 240, 20), (20, 240, 240), (240, 20, 240)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of six colours: ten frames of each, at ten frames per second."""
    path = tmp_path_factory.mktemp("video") / "colours.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            image = np.full((48, 64, 3), COLOURS[number // 10], dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def near(pixels, colour):
    return np.abs(pixels.reshape(-1, 3).mean(0) - colour).max() < 25


@pytest.mark.parametrize(("seconds", "colour"), [(0.0, 0), (0.9, 0), (1.0, 1), (2.55, 2), (5.0, 5), (5.9, 5)])
def test_a_frame_is_found_by_its_time(video, seconds, colour):
    found = decode_picture(PictureFile(path=video.name, seconds=seconds), video.parent, 32)
    assert found.shape == (32, 32, 3) and near(found, COLOURS[colour])


def test_frames_of_a_video_side_by_side(video):
    one = decode_picture(PictureFile(path=video.name), video.parent, 32)
    assert near(one, COLOURS[3])  # the frame at three of six seconds
    six = decode_picture(PictureFile(path=video.name, frames=6), video.parent, 30)
    cells = [
        six[10 * row + 2 : 10 * row + 8, 10 * column + 2 : 10 * column + 8]
        for row in (0, 1)
        for column in range(3)
    ]
    assert all(near(cell, colour) for cell, colour in zip(cells, COLOURS, strict=True))
    assert not six[20:].any()


def test_images_of_every_mode_become_rgb_of_one_size(tmp_path):
    for mode in ("RGB", "L", "RGBA", "P"):
        Image.new(mode, (40, 20), 3).save(tmp_path / f"{mode}.png")
    found = decode_pictures(
        [PictureFile(path=f"{mode}.png") for mode in ("RGB", "L", "RGBA", "P")], tmp_path, 16
    )
    assert found.shape == (4, 16, 16, 3) and found.dtype == np.uint8


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    files = [PictureFile(path=f"{number}.png") for number in range(12)]
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(decode_pictures(files, tmp_path, 16))
    np.testing.assert_array_equal(*found)


def test_an_unreadable_file_is_named(tmp_path, video):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for name in ("broken.png", "broken.mp4", "none.png"):
        with pytest.raises(UserError, match="cannot be read") as error:
            decode_picture(PictureFile(path=name), tmp_path, 16)
        assert name in str(error.value) and "\n" not in str(error.value)
    assert "no file" in picture_problem(PictureFile(path="none.png"), tmp_path)
    assert "Pillow cannot read its image" in picture_problem(PictureFile(path="broken.png"), tmp_path)
    assert "Pillow cannot read its image" in picture_problem(PictureFile(data=b"text"), tmp_path)
    assert picture_problem(PictureFile(path=video.name), video.parent) is None
