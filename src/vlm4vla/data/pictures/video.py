"""Read single frames of videos by their time, and write videos that allow this quickly (PyAV).

A video file stays open after the first read. To reach a frame, the reader seeks to the keyframe before it.
Each worker process keeps only a few files open, so memory does not grow with the dataset.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError

OPEN_FILES = 16  # per process; each file holds an index of its frames and one decoder
STEPS_BACK = (0.0, 1.0, 5.0, 60.0)  # seconds; a keyframe may be decoded before a frame but shown after it
READ_ON = 8  # frames; up to this distance, decoding onwards is faster than seeking

CODEC, PIXELS = "h264", "yuv420p"
# A keyframe at every second frame makes random access fast; LeRobot's videos have the same interval.
# `zerolatency` turns look-ahead off so that the same frames give the same bytes: the statistics of the
# look-ahead sometimes differed on processors with AVX-512.
OPTIONS = {"g": "2", "bf": "0", "crf": "18", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


class VideoFile:
    """One open video, whose frames are read at multiples of 1 / `fps` seconds."""

    def __init__(self, path: Path, fps: float):
        import av

        self.path = path
        self.half = 0.5 / fps  # seconds of half a frame
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise UserError(f"{path}: not a video ({error}): {_AGAIN}") from None
        self._stream.codec_context.thread_count = 1  # worker processes already decode in parallel
        self._frames: Iterator[Any] | None = None
        self._last: Any = None  # the frame decoded last

    def close(self) -> None:
        self._container.close()

    def frame(self, seconds: float) -> np.ndarray:
        """Return the frame shown at `seconds`: (H, W, 3) uint8.

        This is the frame with the closest time, at less than half a frame's distance. Raises UserError if
        there is no such frame, or if the file cannot be decoded.
        """
        import av

        try:
            frame = self._find(seconds)
            if frame is not None:
                return frame.to_ndarray(format="rgb24")
        except (av.error.FFmpegError, OSError) as error:
            self._frames = self._last = None
            line = f"{self.path}: cannot be decoded at {seconds:.3f} s ({error}): {_AGAIN}"
            raise UserError(line) from None
        raise UserError(f"{self.path}: shows no frame at {seconds:.3f} s: {_AGAIN}")

    def _find(self, seconds: float) -> Any:
        last = None if self._last is None else self._last.time - seconds
        if last is not None and abs(last) < self.half:
            return self._last
        if last is None or not -2 * self.half * READ_ON < last < 0:
            self._seek(seconds)
        while self._last is not None:
            away = self._last.time - seconds
            if abs(away) < self.half:
                return self._last
            if away > 0:
                return None
            self._step()
        return None

    def _seek(self, seconds: float) -> None:
        """Decode a frame at or before `seconds`, or the first frame if there is no earlier one."""
        for back in STEPS_BACK:
            target = max(seconds - back, 0.0)
            self._container.seek(round(target / self._stream.time_base), stream=self._stream)
            self._frames = self._container.decode(self._stream)
            self._step()
            if target == 0 or (self._last is not None and self._last.time < seconds + self.half):
                return

    def _step(self) -> None:
        self._last = next(self._frames, None) if self._frames is not None else None
        while self._last is not None and self._last.pts is None:
            self._last = next(self._frames, None)


class VideoFiles:
    """A cache of at most `most` open videos; the least recently used one is closed first."""

    def __init__(self, fps: float, most: int = OPEN_FILES):
        self.fps = fps
        self.most = most
        self._open: OrderedDict[Path, VideoFile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def frame(self, path: Path, seconds: float) -> np.ndarray:
        """Return the frame that the video at `path` shows at `seconds`; see `VideoFile.frame`."""
        if path in self._open:
            self._open.move_to_end(path)
        else:
            if len(self._open) >= self.most:
                self._open.popitem(last=False)[1].close()
            self._open[path] = VideoFile(path, self.fps)
        return self._open[path].frame(seconds)

    def close(self) -> None:
        """Close all videos."""
        for video in self._open.values():
            video.close()
        self._open.clear()


class VideoWriter:
    """Writes images as one H.264 video, an mp4 file at `path`, at `fps` frames per second.

    `size`: height and width of the images in pixels, an even number.
    """

    def __init__(self, path: Path, *, size: int, fps: float):
        import av

        rate = Fraction(fps).limit_denominator(1001)
        self.frames = 0
        self._time_base = 1 / rate
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=rate, options=OPTIONS)
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = PIXELS

    def add(self, images: np.ndarray) -> None:
        """Append images (T, size, size, 3) uint8."""
        import av

        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self.frames, self._time_base
            self.frames += 1
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write the frames that the encoder has buffered and the file's index."""
        self._container.mux(self._stream.encode())
        self._container.close()


_AGAIN = "download the file again, or write it again"
