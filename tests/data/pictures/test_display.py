"""Videos that are turned or mirrored by their display matrix, as phones write them."""

from __future__ import annotations

import math
import struct

import av
import numpy as np
import pytest
from handmade_sets import FPS, HEIGHT, WIDTH, picture, write_video

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.files import PictureFile, decode_picture
from vlm4vla.data.pictures.video import VideoFile

ONE = 1 << 16
# The matrices a, b, c, d of ISO/IEC 14496-12, 6.2.2 and what a player does with them. Phones that are held
# upright write the matrix of 90 degrees, with which a player turns the picture clockwise.
MATRICES = {
    "0": ((1, 0, 0, 1), lambda p: p),
    "90": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "180": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "270": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
}


def turned_video(path, matrix):
    """Write a video with the matrix `a`, `b`, `c`, `d` in the header of its track."""
    write_video(path, range(8))
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4
    assert data[header] == 0  # version
    start = header + 4 + 20 + 16
    a, b, c, d = (round(value * ONE) for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", MATRICES)
def test_a_turned_video_is_shown_upright(name, tmp_path):
    matrix, turn = MATRICES[name]
    path = turned_video(tmp_path / "a.mp4", matrix)
    with av.open(str(path)) as file:
        stored = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert stored[5].shape == (HEIGHT, WIDTH, 3)
    for video in (VideoFile(path, FPS).frame(5 / FPS), VideoFile(path).shown(5 / FPS)):
        np.testing.assert_array_equal(video, turn(stored[5]))
    small = decode_picture(PictureFile(path="a.mp4", seconds=5 / FPS), tmp_path, 48)
    expected = turn(picture(5))
    for corner in ((2, 2), (2, -3), (-3, 2), (-3, -3)):
        assert np.abs(small[corner].astype(int) - expected[corner]).max() < 40


def test_the_angle_is_the_one_that_pyav_reports(tmp_path):
    for degrees in ("0", "90", "180", "270"):
        path = turned_video(tmp_path / f"{degrees}.mp4", MATRICES[degrees][0])
        with av.open(str(path)) as file:
            angle = next(file.decode(video=0)).rotation  # counterclockwise
        assert (-angle - int(degrees)) % 360 == 0


def test_other_angles_are_refused(tmp_path):
    cosine = math.sqrt(0.5)
    path = turned_video(tmp_path / "a.mp4", (cosine, cosine, -cosine, cosine))
    for read in (VideoFile(path, FPS).frame, VideoFile(path).shown):
        with pytest.raises(UserError, match=r"a\.mp4: is turned by an angle that is not a multiple of 90"):
            read(0.0)
