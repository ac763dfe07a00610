"""train.jsonl: what a training run says about itself every `log_every` steps."""

from __future__ import annotations

import json
import time
from pathlib import Path


class TrainLog:
    """Lines of step, loss (mean since the last line), learning rate, samples a second, gradient norm."""

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

    def write(
        self, step: int, batch: int, loss: float, learning_rate: float, gradient_norm: float
    ) -> dict[str, float]:
        """Add the line of `step` (updates done) of `batch` samples each; returns what it says."""
        now = time.monotonic()
        rate = (step - self._last_step) * batch / max(now - self._last, 1e-9)
        self._last, self._last_step = now, step
        record = {"step": step, "loss": loss, "learning_rate": learning_rate}
        record |= {"samples_per_second": round(rate, 1), "gradient_norm": gradient_norm}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        return record

    def close(self) -> None:
        self._file.close()
