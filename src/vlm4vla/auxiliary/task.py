"""What an auxiliary task has to say about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from vlm4vla.simulation.questions import Picture

if TYPE_CHECKING:
    from vlm4vla.backbones.adapter import Adapter


class Task(ABC):
    """An auxiliary task whose answers are text, learnt by next-token loss.

    Called by: the stage auxiliary-data (`pictures`), and the stage auxiliary (`asked`, when text becomes ids,
    and `score`, on held-out answers).
    """

    name: ClassVar[str]
    statements_a_picture: ClassVar[float] = 3.0  # how many of a picture's statements a training text holds
    freeze: Literal["none", "vision"] = "none"  # what does not train
    words_stay: ClassVar[bool] = True  # whether a policy keeps the words that the backbone learnt here

    @abstractmethod
    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        """`count` pictures of a split ("train" or "held_out"), each with at least one statement.

        Every statement's `set` is the task's name. Same arguments, same pictures; no picture of one split is
        in the other.
        """

    def asked(self, adapter: Adapter, question: str) -> str:
        """The question's text as this family is asked."""
        return question

    def score(self, answer: str, truth: str) -> float:
        """How right an answer is, 0 to 1: by default, whether it is the true one to the letter."""
        return float(answer == truth)
