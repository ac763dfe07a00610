"""Read frames of videos by their time, and write videos that allow this quickly (PyAV).

A video file stays open after the first read. To reach a frame, the reader seeks to the keyframe before it.
Each worker process keeps only a few files open, so memory does not grow with the dataset.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.display import Matrix, display_matrix, upright
from vlm4vla.data.pictures.timeline import (
    AGAIN,
    Timeline,
    can_seek,
    check_time,
    open_video,
    read_timeline,
)

OPEN_FILES = 16  # per process; each file holds an index of its frames and one decoder
# Seconds; a keyframe may be decoded before a frame but shown after it. The last step is the beginning.
STEPS_BACK = (0.0, 1.0, 5.0, 60.0, math.inf)
READ_ON = 8  # frames; up to this distance, decoding onwards is faster than seeking
# Seconds; float32 times of a long episode are wrong by less, and frames are farther apart.
ROUNDING = 1e-4
TINY = 1e-6  # seconds; error of the length of a video
MOST_TICK = 1e-3  # seconds; containers that round times to coarser ticks round to whole frames

CODEC, PIXELS = "h264", "yuv420p"
# A keyframe at every second frame makes random access fast; LeRobot's videos have the same interval.
# `zerolatency` turns look-ahead off so that the same frames give the same bytes: the statistics of the
# look-ahead sometimes differed on processors with AVX-512.
OPTIONS = {"g": "2", "bf": "0", "crf": "18", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


class VideoFile:
    """One open video. Its frames are those of a complete decoding, in any order of reading.

    `fps` is needed for `frame`, which reads at multiples of 1 / `fps` seconds. Files of mp4 and Matroska are
    searched with their index. All other files (AVI, MPEG) are decoded from their beginning, because a seek in
    them changes the times that the decoder gives to frames.
    """

    def __init__(self, path: Path, fps: float | None = None):
        self.path = path
        self._container, self._stream = open_video(path)
        self._indexed = can_seek(self._container)
        rate = fps or float(self._stream.average_rate or 0) or 25.0
        self.half = 0.5 / rate  # seconds of half a frame
        tick = float(self._stream.time_base or 0)
        self._start = min(0.0, (self._stream.start_time or 0) * tick)  # seconds
        self._slack = 0.5 * min(tick, MOST_TICK) + ROUNDING
        self._timeline: Timeline | None = None  # of `shown`
        self._matrix: Matrix | None = None  # of all frames, from the first one that is read
        self._frames: Iterator[Any] | None = None
        self._last: Any = None  # the frame decoded last
        self._next: Any = None  # the frame after it, if it is decoded already

    def close(self) -> None:
        self._container.close()

    def frame(self, seconds: float) -> np.ndarray:
        """Return the frame whose time in the file is `seconds`: (H, W, 3) uint8.

        This is the frame with the closest time, at less than half a frame's distance. Files other than mp4
        and Matroska count times from their first frame. Raises UserError if there is no such frame, or if the
        file cannot be decoded.
        """
        zero = 0.0 if self._indexed else self.timeline.first
        return self._read(self._closest, seconds + zero, seconds)

    def shown(self, seconds: float) -> np.ndarray:
        """Return the frame that a viewer shows `seconds` after the first frame: (H, W, 3) uint8.

        This is the last frame that starts by then. Raises UserError for a time after the end of the video,
        and if the file cannot be decoded.
        """
        timeline = self.timeline
        if not -self._slack <= seconds < timeline.length - TINY:
            end = f"the video ends at {timeline.length:.3f} s"
            raise UserError(f"{self.path}: shows no frame at {seconds:.3f} s: {end}")
        return self._read(self._last_by, timeline.first + seconds + self._slack, seconds)

    @property
    def timeline(self) -> Timeline:
        """The times of the file's frames. Raises UserError if frames have no times or are out of order."""
        if self._timeline is None:
            self._timeline = read_timeline(self.path)
        return self._timeline

    def _read(self, find: Any, time: float, seconds: float) -> np.ndarray:
        """Return the frame that `find` finds at `time` (s). `seconds` is the time for messages."""
        import av

        try:
            frame = find(time) if math.isfinite(time) else None
            if frame is not None:
                if self._matrix is None:
                    self._matrix = display_matrix(frame)
                return upright(frame, self._matrix)
        except UserError:
            self._frames = self._last = self._next = None
            raise
        except (av.error.FFmpegError, OSError) as error:
            self._frames = self._last = self._next = None
            line = f"{self.path}: cannot be decoded at {seconds:.3f} s ({error}): {AGAIN}"
            raise UserError(line) from None
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from None
        raise UserError(f"{self.path}: shows no frame at {seconds:.3f} s: {AGAIN}")

    def _closest(self, time: float) -> Any:
        """Return the frame at less than half a frame's distance from `time`, or None."""
        last = None if self._last is None else self._last.time - time
        if last is not None and abs(last) < self.half:
            return self._last
        if not self._is_near(time):
            self._seek(time + self.half)
        while self._last is not None:
            away = self._last.time - time
            if abs(away) < self.half:
                return self._last
            if away > 0:
                return None
            self._step()
        return None

    def _last_by(self, time: float) -> Any:
        """Return the last frame that starts by `time`, or None."""
        if not self._is_near(time):
            self._seek(time)
        while self._last is not None and self._last.time <= time:
            self._next = self._next or self._decoded()
            if self._next is None or self._next.time > time:
                return self._last
            self._step()
        return None

    def _is_near(self, time: float) -> bool:
        """Return whether decoding onwards reaches `time` faster than a seek does."""
        if self._last is None or self._last.time > time:
            return False
        return not self._indexed or time - self._last.time < 2 * self.half * READ_ON

    def _seek(self, time: float) -> None:
        """Decode a frame that starts by `time`, or the first frame if there is no such frame."""
        for back in STEPS_BACK if self._indexed else STEPS_BACK[-1:]:
            target = max(time - back, self._start)
            if self._indexed:
                self._container.seek(math.floor(target / self._stream.time_base), stream=self._stream)
            elif self._frames is not None:
                self._container.close()
                self._container, self._stream = open_video(self.path)
            self._frames = self._container.decode(self._stream)
            self._last = self._next = None
            self._step()
            if target == self._start or (self._last is not None and self._last.time <= time):
                return

    def _step(self) -> None:
        """Go to the next frame. Raises UserError if it has no time, or an earlier one."""
        self._last, self._next = self._next or self._decoded(), None

    def _decoded(self) -> Any:
        frame = next(self._frames, None) if self._frames is not None else None
        if frame is not None:
            check_time(self.path, frame, self._last)
        return frame


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
