"""The interface that every auxiliary task implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vlm4vla.data.questions.statements import Picture

if TYPE_CHECKING:
    from vlm4vla.backbones.adapter import Adapter
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.config.stages import AuxiliarySettings


class AuxiliaryTask(ABC):
    """An auxiliary task. By default its answers are text, and the backbone learns them by next-token loss.

    The stage auxiliary-data calls `pictures`. The stage auxiliary calls `fine_tuning`. The fine-tuning on
    text answers first checks every answer with `fault`, turns questions into the family's words with
    `asked`, and scores held-out answers with `score`.
    """

    name: ClassVar[str]
    statements_a_picture: ClassVar[float] = 3.0  # mean number of an image's statements in a training text
    freeze: Literal["none", "vision"] = "none"  # the part of the backbone that is not trained
    words_stay: ClassVar[bool] = True  # whether a policy keeps the words that the backbone learnt here
    dense: ClassVar[bool] = False  # whether each image comes with depth and class of every pixel

    @abstractmethod
    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        """Yield `count` pictures of a split ("train" or "held_out"), each with at least one statement.

        The `set` of every statement is the task's name. The same arguments always give the same pictures. No
        picture is in both splits.
        """

    def fine_tuning(self, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone) -> Any | None:
        """Return the task's own `FineTuning` of `backbone`, or None to use a built-in one."""
        return None

    def fault(self, answer: str) -> str | None:
        """Return what is wrong with an answer of the data, whatever its picture, and what to write instead.

        None means that the answer can be correct.
        """
        return None

    def asked(self, adapter: Adapter, question: str) -> str:
        """Return the text of `question` for the prompt of the adapter's family."""
        return question

    def chance(self, question: str, truth: str) -> float:
        """Return the expected score of answers that have the right form but ignore the image."""
        return 0.0

    def score(self, answer: str, truth: str) -> float:
        """Return how correct an answer is, from 0 to 1. By default only an exact match scores 1."""
        return float(answer == truth)
