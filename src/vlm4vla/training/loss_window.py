"""Losses since the last line of a training's log, and what happens when one is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vlm4vla.artefacts import UserError


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
