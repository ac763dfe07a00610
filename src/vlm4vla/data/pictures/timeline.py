"""The times of a video's frames, and whether they can be trusted.

The packets of a file are read without decoding them. If frames may come out of the decoder in another order
than their times say, as in AVI files with B-frames, the file is decoded once to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.decoding import PictureError, check_size

AGAIN = "download the file again, or write it again"
AS_MP4 = "convert it to mp4, with a time for each frame"
INDEXED = (
    "mov",
    "matroska",
)  # FFmpeg's names of the containers that store the time of each frame, and an index
REMEMBERED = 4096  # files


@dataclass(frozen=True)
class Timeline:
    """`first`: time of the first frame in the file, in seconds. `length`: seconds until the last one ends."""

    first: float
    length: float


def open_video(path: Path) -> tuple[Any, Any]:
    """Open a file and return its container and its video stream (PyAV). Raises UserError."""
    import av

    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or "unknown format"
        raise UserError(f"{path}: not a video, it cannot be read ({reason}): {AGAIN}") from None
    streams = container.streams.video
    if not streams or streams[0].codec_context is None:
        container.close()
        raise UserError(f"{path}: not a video, it cannot be read (no stream that FFmpeg decodes): {AGAIN}")
    stream = streams[0]
    try:
        check_size(stream.codec_context.width, stream.codec_context.height)
    except PictureError as error:
        container.close()
        raise UserError(f"{path}: {error}") from None
    stream.codec_context.thread_count = 1  # worker processes already decode in parallel
    return container, stream


def can_seek(container: Any) -> bool:
    """Return whether a seek in an open container leaves the times of frames as they are."""
    return any(name in INDEXED for name in container.format.name.split(","))


def read_timeline(path: Path) -> Timeline:
    """Return the times of a file's frames.

    Raises UserError if the file has no frames, if a frame has no time, or if times go backwards.
    """
    try:
        status = path.stat()
    except OSError as error:
        reason = error.strerror or "unknown error"
        raise UserError(f"{path}: not a video, it cannot be read ({reason}): {AGAIN}") from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=REMEMBERED)
def _read(path: Path, modified: int, size: int) -> Timeline:
    """Read the times of the file at `path`. `modified` and `size` distinguish its versions in the cache."""
    import av

    container, stream = open_video(path)
    try:
        # Read before the container is closed: afterwards, PyAV's streams point to freed memory.
        step, unit = 1 / float(stream.average_rate or 25), float(stream.time_base or 0)
        packets = [
            (packet.pts, packet.dts, packet.duration or 0)
            for packet in container.demux(stream)
            if packet.size
        ]
        order_unknown = _is_order_unknown(packets, stream)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}): {AGAIN}") from None
    finally:
        container.close()
    if order_unknown:
        times = _decoded_times(path, None)
        return Timeline(times[0], times[-1] + step - times[0])
    last, _, lasts = max(packets, key=lambda packet: packet[0])
    end = last * unit + (lasts * unit if lasts else step)
    first = _decoded_times(path, 1)[0]
    return Timeline(first, end - first)


def _is_order_unknown(packets: list[tuple[int | None, int | None, int]], stream: Any) -> bool:
    """Return whether frames may lack times, or come out of the decoder in another order than their times say.

    `packets`: for each, the times of showing and of decoding, and the duration. A file with B-frames stores
    frames in another order than they are shown in. If the times of its packets only rise, they are times of
    decoding.
    """
    times = [shown for shown, _, _ in packets]
    decoding = [decoded for _, decoded, _ in packets if decoded is not None]
    if not times or None in times or any(after < before for before, after in pairwise(decoding)):
        return True
    return stream.codec_context.has_b_frames and all(b <= a for b, a in pairwise(times))


def _decoded_times(path: Path, count: int | None) -> list[float]:
    """Decode the first `count` frames, or all, and return their times in seconds."""
    import av

    container, stream = open_video(path)
    times: list[float] = []
    before = None
    try:
        for frame in islice(container.decode(stream), count):
            check_time(path, frame, before)
            before = frame
            times.append(frame.time)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path}: cannot be decoded ({error}): {AGAIN}") from None
    finally:
        container.close()
    if not times:
        raise UserError(f"{path}: has no frames: {AGAIN}")
    return times


def check_time(path: Path, frame: Any, before: Any) -> None:
    """Raise UserError if a decoded frame has no time, or an earlier one than the frame before it, or None."""
    if frame.pts is None:
        raise UserError(f"{path}: a frame has no time: {AS_MP4}")
    if before is not None and frame.pts < before.pts:
        raise UserError(f"{path}: the times of its frames go backwards at {before.time:.3f} s: {AS_MP4}")
