"""train.jsonl, the log of a training run, and the losses between two of its lines."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vlm4vla.core.artefacts import parse_json, write_text
from vlm4vla.core.errors import UserError


class TrainLog:
    """One line for every `log_every` steps.

    A line holds the step, the mean loss since the last line, the learning rate, the samples a second and the
    gradient norm.
    """

    def __init__(self, path: Path, resumed_at: int):
        """Open the log of a run that resumes after `resumed_at` steps; lines of later steps are dropped."""
        kept = []
        if resumed_at and path.exists():
            for line in path.read_text().splitlines():
                try:
                    if parse_json(line)["step"] <= resumed_at:
                        kept.append(line + "\n")
                except (ValueError, KeyError):
                    break  # the run was killed while it wrote this line
        write_text(path, "".join(kept))  # atomic: a kill must not lose the lines of earlier steps
        self._file = path.open("a")
        self._last_time = time.monotonic()
        self._last_step = resumed_at

    def write(
        self, step: int, batch: int, loss: float, learning_rate: float, gradient_norm: float
    ) -> dict[str, float]:
        """Write and return the record of `step` (updates done), with `batch` samples an update."""
        now = time.monotonic()
        rate = (step - self._last_step) * batch / max(now - self._last_time, 1e-9)
        self._last_time, self._last_step = now, step
        record = {"step": step, "loss": loss, "learning_rate": learning_rate}
        record |= {"samples_per_second": round(rate, 1), "gradient_norm": gradient_norm}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        return record

    def close(self) -> None:
        self._file.close()


class LossWindow:
    """The losses since the last line of the log.

    `pending` holds (update, ids, loss, gradient norm) of updates whose tensors have not been read from the
    device yet; `read_pending` reads and checks them. `loss` and `norm` are the last values read. `sum` and
    `count` belong to the losses read since the last `clear`.
    """

    def __init__(self, total: float = 0.0, count: int = 0):
        self.sum = total
        self.count = count
        self.loss = math.nan
        self.norm = math.nan
        self.pending: list[tuple[int, np.ndarray, torch.Tensor, torch.Tensor]] = []

    @property
    def mean(self) -> float:
        return self.sum / self.count

    def read_pending(self, folder: Path, last_checkpoint: Callable[[], Path | None]) -> None:
        """Read the pending losses and gradient norms.

        Raises UserError for a value that is not finite. The message names the last good checkpoint.
        """
        for step, ids, loss, norm in self.pending:
            self.loss, self.norm = float(loss), float(norm)
            for name, value in (("loss", self.loss), ("gradient norm", self.norm)):
                if not math.isfinite(value):
                    path = last_checkpoint()
                    good = f"last good checkpoint {path}" if path else "no checkpoint yet"
                    raise UserError(
                        f"{folder}: {name} became {value} at step {step + 1}, batch ids "
                        f"{', '.join(map(str, ids))} ({good}): lower optimiser.learning_rate, or fix "
                        "these samples"
                    )
            self.sum += self.loss
            self.count += 1
        self.pending.clear()

    def clear(self) -> None:
        self.sum, self.count = 0.0, 0
