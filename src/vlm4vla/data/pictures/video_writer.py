"""Pictures as a video of which any frame is read fast: H.264, a keyframe at every second frame (PyAV)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

CODEC, PIXELS = "h264", "yuv420p"
# Random access decides: LeRobot's videos have a keyframe at every second frame too. Same frames, same bytes:
# so no look ahead (zerolatency), whose statistics differed now and then on processors with AVX-512.
OPTIONS = {"g": "2", "bf": "0", "crf": "18", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


class VideoWriter:
    """One mp4 at `path` of pictures `size` pixels a side (even), shown at multiples of 1 / `fps` seconds."""

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
        """Append pictures (T, size, size, 3) uint8."""
        import av

        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self.frames, self._time_base
            self.frames += 1
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder holds back, and the file's index."""
        self._container.mux(self._stream.encode())
        self._container.close()
