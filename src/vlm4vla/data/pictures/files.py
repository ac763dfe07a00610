"""Decode and resize images: from encoded bytes, from files, or from frames of a video file.

Images are decoded when a batch needs them, by the decoder of pictures (decoding.py) and the reader of videos
(video.py) that all readers share. Every image becomes an RGB square of one size. Its aspect ratio is not
kept: the VLM4VLA study resizes images for every backbone in this way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import outside
from vlm4vla.data.pictures.decoding import PictureError, check_picture, shown_picture
from vlm4vla.data.pictures.timeline import read_timeline
from vlm4vla.data.pictures.video import VideoFile

VIDEOS = (
    *(".mp4", ".mkv", ".avi", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv"),
    *(".flv", ".3gp", ".ogv"),
)


@dataclass(frozen=True)
class PictureFile:
    """The location of an image: either its encoded bytes, `data`, or a file, `path`, in the dataset's folder.

    If the file is a video, the image is the frame shown `seconds` after the first frame. With `seconds` None,
    the image is a square grid of `frames` evenly spaced frames, filled row by row. `name` stands for an image
    without a file in messages.
    """

    data: bytes | None = None
    path: str | None = None
    seconds: float | None = None
    frames: int = 1
    name: str = field(default="an image of the dataset", compare=False)

    @property
    def is_video(self) -> bool:
        return self.path is not None and self.path.lower().endswith(VIDEOS)


def decode_picture(picture: PictureFile, folder: Path, size: int) -> np.ndarray:
    """Decode an image to (size, size, 3) uint8.

    Raises UserError with the name of the file if the file is missing, damaged, or of a kind that cannot be
    decoded.
    """
    from PIL import Image

    if picture.is_video:
        return _video_image(folder / picture.path, picture.seconds, picture.frames, size)
    try:
        shown = shown_picture(_source(picture, folder))
    except PictureError as error:
        name = picture.name if picture.path is None else str(folder / picture.path)
        raise UserError(f"{name}: cannot be read: {error}") from None
    return np.asarray(shown.resize((size, size), Image.Resampling.BICUBIC))


def picture_problem(picture: PictureFile, folder: Path) -> str | None:
    """Return what is wrong with an image, or None if nothing is wrong.

    The file must be one in `folder`. The whole image is checked; see `check_picture`. Of a video, only the
    times of its frames are checked; see `read_timeline`.
    """
    if picture.path is not None and (problem := outside(folder, picture.path)) is not None:
        return f"its image {picture.path[:200]!r} {problem}"
    if picture.path is not None and not (folder / picture.path).is_file():
        return (
            f"no file {str(folder / picture.path)!r}: extract the dataset's images there, or write their "
            "folder as `pictures`"
        )
    try:
        if picture.is_video:
            read_timeline(folder / picture.path)
        else:
            check_picture(_source(picture, folder))
    except PictureError as error:
        return f"Pillow cannot read its image: {error}"
    except UserError as error:
        return str(error)
    return None


def _source(picture: PictureFile, folder: Path) -> bytes | Path:
    return picture.data if picture.data is not None else folder / picture.path


def decode_pictures(pictures: Sequence[PictureFile], folder: Path, size: int) -> np.ndarray:
    """Decode n images to (n, size, size, 3) uint8, in order, with at most OMP_NUM_THREADS threads."""
    out = np.empty((len(pictures), size, size, 3), dtype=np.uint8)

    def decode_row(row: int) -> None:
        out[row] = decode_picture(pictures[row], folder, size)

    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    if threads < 2 or len(pictures) < 2:
        for row in range(len(pictures)):
            decode_row(row)
    else:
        with ThreadPoolExecutor(min(threads, len(pictures))) as pool:
            list(pool.map(decode_row, range(len(pictures))))
    return out


def _video_image(path: Path, seconds: float | None, frames: int, size: int) -> np.ndarray:
    """Return a frame of a video, or a grid of its frames, as (size, size, 3) uint8.

    See `PictureFile` for `seconds` and `frames`. Raises UserError.
    """
    from PIL import Image

    video = VideoFile(path)
    try:
        length = video.timeline.length
        times = [length * (number + 0.5) / frames for number in range(frames)]
        shown = [video.shown(time) for time in ([seconds] if seconds is not None else times)]
    finally:
        video.close()
    side = int(np.ceil(np.sqrt(len(shown))))
    edges = [round(number * size / side) for number in range(side + 1)]
    page = Image.new("RGB", (size, size))
    for number, picture in enumerate(shown):
        row, column = divmod(number, side)
        cell = (edges[column + 1] - edges[column], edges[row + 1] - edges[row])
        sized = Image.fromarray(picture).resize(cell, Image.Resampling.BICUBIC)
        page.paste(sized, (edges[column], edges[row]))
    return np.asarray(page)


def resize(
    picture: np.ndarray, side: int, window: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Resize an image (H, W, 3) uint8 to (`side`, `side`, 3), by bicubic interpolation with antialiasing.

    Training and rollouts resize every image with this function. `window`: the part of the image to show, as
    left, top, right and bottom in pixels. None shows the whole image.
    """
    if window is None and picture.shape[:2] == (side, side):
        return picture
    from PIL import Image

    sized = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC, box=window)
    return np.asarray(sized)
