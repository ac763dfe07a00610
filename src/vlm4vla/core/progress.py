"""Progress of long work: a line on stderr from time to time, and durations in words."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN_LINES = 10.0


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12 min` or `1 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Prints `title: done/total, note, minutes left`, at most every 10 seconds and at the end.

    `done`: how much an earlier run that was interrupted had finished.
    """

    def __init__(self, title: str, total: int, done: int = 0):
        self.title = title
        self.total = total
        self._first = done
        self._start = self._last = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` of the total are finished, if the last line is old enough."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES and done < self.total:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = (self.total - done) / max(rate, 1e-9) / 60
        middle = f", {note}" if note else ""
        print(f"{self.title}: {done}/{self.total}{middle}, {left:.1f} min left", file=sys.stderr, flush=True)
