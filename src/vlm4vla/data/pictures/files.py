"""Decode and resize images: from encoded bytes, from files, or from frames of a video file.

Images are decoded when a batch needs them. Every image becomes an RGB square of one size. Its aspect ratio is
not kept: the VLM4VLA study resizes images for every backbone in this way.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm4vla.core.errors import UserError

VIDEOS = (".mp4", ".mkv", ".avi", ".webm", ".mov", ".m4v")


@dataclass(frozen=True)
class PictureFile:
    """The location of an image: either its encoded bytes, `data`, or a file, `path`, in the dataset's folder.

    If the file is a video, the image is the frame shown `seconds` after the start. With `seconds` None, the
    image is a square grid of `frames` evenly spaced frames, filled row by row.
    """

    data: bytes | None = None
    path: str | None = None
    seconds: float | None = None
    frames: int = 1

    @property
    def is_video(self) -> bool:
        return self.path is not None and self.path.lower().endswith(VIDEOS)


def decode_picture(picture: PictureFile, folder: Path, size: int) -> np.ndarray:
    """Decode an image to (size, size, 3) uint8.

    Raises UserError with the name of the file if the file is missing or damaged.
    """
    from PIL import Image

    name = "an image of the dataset" if picture.path is None else str(folder / picture.path)
    try:
        if picture.is_video:
            shown = _video_image(folder / picture.path, picture.seconds, picture.frames, size)
            return np.asarray(shown)
        source = io.BytesIO(picture.data) if picture.data is not None else folder / picture.path
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: cannot be read ({error}): replace it with the complete file") from None


def picture_problem(picture: PictureFile, folder: Path) -> str | None:
    """Return what is wrong with an image, judged by its header alone, or None if nothing is wrong."""
    from PIL import Image, UnidentifiedImageError

    if picture.path is not None and not (folder / picture.path).is_file():
        return (
            f"no file {str(folder / picture.path)!r}: extract the dataset's images there, or write their "
            "folder as `pictures`"
        )
    if picture.is_video:
        return None
    try:
        with Image.open(io.BytesIO(picture.data) if picture.data is not None else folder / picture.path):
            return None
    except (UnidentifiedImageError, OSError):
        return "Pillow cannot read its image: replace the image with the complete file"


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


def _video_image(path: Path, seconds: float | None, frames: int, size: int):
    """Return a frame of a video, or a grid of its frames, as one Pillow image.

    See `PictureFile` for `seconds` and `frames`. Raises OSError or ValueError.
    """
    import av
    from PIL import Image

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if seconds is None:
                length = float((stream.duration or 0) * (stream.time_base or 0))
                length = length or (container.duration or 0) / av.time_base
                times = [length * (number + 0.5) / frames for number in range(frames)]
            else:
                times = [seconds]
            shown = [_frame(container, stream, time) for time in times]
    except (av.error.FFmpegError, IndexError) as error:
        raise OSError(str(error)) from None
    side = int(np.ceil(np.sqrt(len(shown))))
    edges = [round(number * size / side) for number in range(side + 1)]
    page = Image.new("RGB", (size, size))
    for number, picture in enumerate(shown):
        row, column = divmod(number, side)
        cell = (edges[column + 1] - edges[column], edges[row + 1] - edges[row])
        page.paste(picture.resize(cell, Image.Resampling.BICUBIC), (edges[column], edges[row]))
    return page


def _frame(container, stream, seconds: float):
    """Return the frame shown at `seconds`, which is the last one that starts by then, as a Pillow image."""
    start = float((stream.start_time or 0) * stream.time_base)
    container.seek(max(int((start + seconds) / stream.time_base), 0), stream=stream)
    slack = 0.5 * float(1 / stream.average_rate) if stream.average_rate else 1e-3
    found = None
    for frame in container.decode(stream):
        if found is not None and frame.time - start > seconds + slack:
            break
        found = frame
    if found is None:
        raise ValueError(f"no frame at {seconds:.2f} s")
    return found.to_image()


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
