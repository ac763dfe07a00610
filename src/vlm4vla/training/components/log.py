"""train.jsonl: what a training run says about itself every `log_every` steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vlm4vla.core.errors import UserError


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


class LossWindow:
    """`pending`: (update, ids, loss, gradient norm) that still lie on the device; `settle` reads them from
    there and checks them."""

    def __init__(self, total: float = 0.0, count: int = 0):
        self.sum = total
        self.count = count
        self.loss = math.nan
        self.norm = math.nan
        self.pending: list[tuple[int, np.ndarray, torch.Tensor, torch.Tensor]] = []

    @property
    def mean(self) -> float:
        return self.sum / self.count

    def settle(self, folder: Path, last_checkpoint: Callable[[], Path | None]) -> None:
        """Raises UserError, which names the last good checkpoint, for a loss or a norm that is not finite."""
        for step, ids, loss, norm in self.pending:
            self.loss, self.norm = float(loss), float(norm)
            for what, value in (("loss", self.loss), ("gradient norm", self.norm)):
                if not math.isfinite(value):
                    kept = last_checkpoint()
                    good = f"last good checkpoint {kept}" if kept else "no checkpoint yet"
                    raise UserError(
                        f"{folder}: {what} became {value} at step {step + 1}, batch ids "
                        f"{', '.join(map(str, ids))} ({good}): lower optimiser.learning_rate, or mend "
                        "those samples"
                    )
            self.sum += self.loss
            self.count += 1
        self.pending.clear()

    def clear(self) -> None:
        self.sum, self.count = 0.0, 0
