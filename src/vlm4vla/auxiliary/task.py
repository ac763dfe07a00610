"""What an auxiliary task has to say about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from vlm4vla.simulation.questions import Picture


class Task(ABC):
    """An auxiliary task whose answers are text, learnt by next-token loss.

    Called by: the stage auxiliary_data (`pictures`), and the stage auxiliary (`score`, on held-out answers).
    """

    name: ClassVar[str]
    statements_a_picture: ClassVar[float] = 3.0  # how many of a picture's statements a training text holds

    @abstractmethod
    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        """`count` pictures of a split ("train" or "held_out"), each with at least one statement.

        Every statement's `set` is the task's name. Same arguments, same pictures; no picture of one split is
        in the other.
        """

    def score(self, answer: str, truth: str) -> float:
        """How right an answer is, 0 to 1: by default, whether it is the true one to the letter."""
        return float(answer == truth)
