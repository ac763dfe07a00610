"""Pictures that are decoded when a batch asks for them: encoded bytes, files, or frames of a video file.

Every picture comes out as RGB of one square size, resized without keeping its shape, as the study resizes
pictures for every backbone.
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
    """Where a picture is: its encoded bytes, or a file below the folder of all.

    Of a video: the frame shown `seconds` after its start, or with None `frames` of it, evenly spaced and
    side by side in a square grid, row by row.
    """

    data: bytes | None = None
    path: str | None = None
    seconds: float | None = None
    frames: int = 1

    @property
    def is_video(self) -> bool:
        return self.path is not None and self.path.lower().endswith(VIDEOS)


def decode(picture: PictureFile, folder: Path, size: int) -> np.ndarray:
    """(size, size, 3) uint8. Raises UserError that names the file, for one that is missing or broken."""
    from PIL import Image

    name = "a picture of the set" if picture.path is None else str(folder / picture.path)
    try:
        if picture.is_video:
            shown = _video(folder / picture.path, picture.seconds, picture.frames, size)
            return np.asarray(shown)
        source = io.BytesIO(picture.data) if picture.data is not None else folder / picture.path
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: cannot be read ({error}): put the whole file there") from None


def check(picture: PictureFile, folder: Path) -> str | None:
    """What is wrong with a picture, as far as its header says; None when nothing is."""
    from PIL import Image, UnidentifiedImageError

    if picture.path is not None and not (folder / picture.path).is_file():
        return f"no file {str(folder / picture.path)!r}: unpack the set's pictures there, or write `pictures`"
    if picture.is_video:
        return None
    try:
        with Image.open(io.BytesIO(picture.data) if picture.data is not None else folder / picture.path):
            return None
    except (UnidentifiedImageError, OSError):
        return "its picture is none that Pillow reads: put the whole picture there"


def decode_all(pictures: Sequence[PictureFile], folder: Path, size: int) -> np.ndarray:
    """(n, size, size, 3) uint8, in order; decoded by as many threads as OMP_NUM_THREADS allows."""
    out = np.empty((len(pictures), size, size, 3), dtype=np.uint8)

    def put(row: int) -> None:
        out[row] = decode(pictures[row], folder, size)

    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    if threads < 2 or len(pictures) < 2:
        for row in range(len(pictures)):
            put(row)
    else:
        with ThreadPoolExecutor(min(threads, len(pictures))) as pool:
            list(pool.map(put, range(len(pictures))))
    return out


def _video(path: Path, seconds: float | None, frames: int, size: int):
    """The wanted frames of a video as one Pillow picture. Raises OSError or ValueError."""
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
    """The frame that is shown at `seconds`: the last that starts by then, as a Pillow picture."""
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
