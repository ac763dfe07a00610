"""The interface between an auxiliary task and the backbone that is fine-tuned on the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.training.components.samples import Samples


class FineTuning(ABC):
    """A task, its data, and a backbone to train or to score. Called by the stage auxiliary.

    `backbone` is the backbone that was passed in, extended by the words that the task needs. The constructor
    checks the data, so that an error in the data stops the run before any training.
    """

    backbone: LoadedBackbone

    @abstractmethod
    def objective(self) -> nn.Module:
        """Return a module that computes the loss of a batch of `samples`.

        It holds the backbone's model and any other module that is trained with it.
        """

    @abstractmethod
    def samples(self) -> Samples:
        """Return the batches of the training split."""

    @abstractmethod
    def score(self) -> dict[str, Any]:
        """Score the backbone, in its present state, on the held-out split: `mean_score`, and maybe more."""

    def drawings(self) -> Any | None:
        """Return data for a figure of held-out examples, or None, as for most tasks."""
        return None


def mean_score(values: Sequence[float], questions: int) -> dict[str, Any]:
    """Return the mean of independent `values`, its 95 % interval and the number of `questions`.

    The interval is a normal approximation. All three numbers are clipped to 0..1.
    """
    mean = float(np.mean(values))
    half = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 1.0
    score, low, high = (min(1.0, max(0.0, v)) for v in (mean, mean - half, mean + half))
    return {"score": score, "ci_low": low, "ci_high": high, "questions": questions}
