"""What an auxiliary task does with a backbone in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.training.components.samples import Samples


class Lesson(ABC):
    """A task, its data and a backbone that learns or is asked; called by the stage auxiliary.

    `backbone` is the one that was given, grown by the words that the task needs. Everything that can be wrong
    with the data is found when a lesson is made, before any training.
    """

    backbone: LoadedBackbone

    @abstractmethod
    def objective(self) -> nn.Module:
        """The loss of a batch of `samples`; holds the backbone's model and whatever trains beside it."""

    @abstractmethod
    def samples(self) -> Samples:
        """Batches of the training split."""

    @abstractmethod
    def score(self) -> dict[str, Any]:
        """How well the backbone, as it is now, does the held-out split: `mean_score` and more."""

    def drawings(self) -> Any | None:
        """What there is to look at beside the score; most tasks have nothing."""
        return None


def mean_score(values: Sequence[float], questions: int) -> dict[str, Any]:
    """Mean of independent `values` with its 95 % interval (normal), cut to 0..1, and how many questions."""
    mean = float(np.mean(values))
    half = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 1.0
    score, low, high = (min(1.0, max(0.0, v)) for v in (mean, mean - half, mean + half))
    return {"score": score, "ci_low": low, "ci_high": high, "questions": questions}
