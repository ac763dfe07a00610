"""Progress of a run: one line on stderr now and then, and a line of train.jsonl every `log_every` steps."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

SECONDS_BETWEEN_LINES = 10.0


class ProgressLines:
    """Writes `title: step/steps steps, loss, samples/s, minutes left` to stderr, at most every 10 seconds."""

    def __init__(self, title: str, steps: int, batch: int, done: int):
        self.title = title
        self.steps = steps
        self.batch = batch
        self._first = done
        self._start = self._last = time.monotonic()

    def update(self, done: int, loss: float) -> None:
        """Say how far the run is after `done` steps, if it is time to or the run ends."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES and done < self.steps:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = (self.steps - done) / max(rate, 1e-9) / 60
        print(
            f"{self.title}: {done}/{self.steps} steps, loss {loss:.4f}, {rate * self.batch:.0f} samples/s, "
            f"{left:.1f} min left",
            file=sys.stderr,
            flush=True,
        )


class TrainLog:
    """train.jsonl: loss (mean since the last line), learning rate, samples a second, gradient norm."""

    def __init__(self, path: Path, resumed_at: int):
        """Continue the log of a run that resumes after `resumed_at` steps: later lines are dropped."""
        kept = []
        if resumed_at and path.exists():
            for line in path.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= resumed_at:
                        kept.append(line + "\n")
                except (ValueError, KeyError):
                    break  # the run was killed in the middle of this line
        path.write_text("".join(kept))
        self._file = path.open("a")
        self._last = time.monotonic()
        self._last_step = resumed_at

    def write(self, step: int, batch: int, loss: float, learning_rate: float, gradient_norm: float) -> None:
        """Add the line of `step` (updates done) of `batch` samples each."""
        now = time.monotonic()
        rate = (step - self._last_step) * batch / max(now - self._last, 1e-9)
        self._last, self._last_step = now, step
        record = {"step": step, "loss": loss, "learning_rate": learning_rate}
        record |= {"samples_per_second": round(rate, 1), "gradient_norm": gradient_norm}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
