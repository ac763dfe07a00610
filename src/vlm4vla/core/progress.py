"""How far long work is: one line on stderr now and then."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Writes `title: done/total, note, minutes left`, at most every 10 seconds and at the end.

    `done`: what an earlier, killed run had finished already.
    """

    def __init__(self, title: str, total: int, done: int = 0):
        self.title = title
        self.total = total
        self._first = done
        self._start = self._last = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` of the total are finished, if it is time to."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES and done < self.total:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = (self.total - done) / max(rate, 1e-9) / 60
        middle = f", {note}" if note else ""
        print(f"{self.title}: {done}/{self.total}{middle}, {left:.1f} min left", file=sys.stderr, flush=True)
