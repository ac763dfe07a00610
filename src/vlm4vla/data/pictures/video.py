"""Single frames out of videos, by their time (PyAV).

A file is opened once and kept; a frame is found by seeking to the keyframe before it. Each worker process has
its own few open files, so memory does not grow with the data set.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError

OPEN_FILES = 16  # a process; each holds the index of its frames and one decoder
STEPS_BACK = (0.0, 1.0, 5.0, 60.0)  # seconds: a keyframe may be decoded before a frame and shown after it
READ_ON = 8  # frames: nearer than that, decoding on is quicker than seeking


class VideoFile:
    """One open video. `fps`: its frames are asked for at multiples of 1 / `fps` seconds."""

    def __init__(self, path: Path, fps: float):
        import av

        self.path = path
        self.half = 0.5 / fps
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise UserError(f"{path}: not a video ({error}): {_AGAIN}") from None
        self._stream.codec_context.thread_count = 1  # many processes beat many threads
        self._frames: Iterator[Any] | None = None
        self._last: Any = None  # the frame decoded last

    def close(self) -> None:
        self._container.close()

    def frame(self, seconds: float) -> np.ndarray:
        """The frame shown at `seconds`: (H, W, 3) uint8.

        It is the one whose time is nearest, and nearer than half a frame. UserError when there is none, or
        the file cannot be decoded.
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
        """Stand at a frame at or before `seconds`, or at the first frame."""
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
    """Open videos by path; the one that was used longest ago is closed for a new one."""

    def __init__(self, fps: float, most: int = OPEN_FILES):
        self.fps = fps
        self.most = most
        self._open: OrderedDict[Path, VideoFile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def frame(self, path: Path, seconds: float) -> np.ndarray:
        """The frame that the video at `path` shows at `seconds`: (H, W, 3) uint8; see `VideoFile.frame`."""
        if path in self._open:
            self._open.move_to_end(path)
        else:
            if len(self._open) >= self.most:
                self._open.popitem(last=False)[1].close()
            self._open[path] = VideoFile(path, self.fps)
        return self._open[path].frame(seconds)

    def close(self) -> None:
        """Close all of them."""
        for video in self._open.values():
            video.close()
        self._open.clear()


_AGAIN = "download or write it again"
