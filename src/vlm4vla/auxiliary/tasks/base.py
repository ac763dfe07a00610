"""What an auxiliary task has to say about itself."""

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


class Task(ABC):
    """An auxiliary task; unless `lesson` says otherwise its answers are text, learnt by next-token loss.

    Called by: the stage auxiliary-data (`pictures`), the stage auxiliary (`lesson`), and the lesson of a task
    whose answers are text (`fault` of every answer first, `asked` when text becomes ids, and `score` on
    held-out answers).
    """

    name: ClassVar[str]
    statements_a_picture: ClassVar[float] = 3.0  # how many of a picture's statements a training text holds
    freeze: Literal["none", "vision"] = "none"  # what does not train
    words_stay: ClassVar[bool] = True  # whether a policy keeps the words that the backbone learnt here
    dense: ClassVar[bool] = False  # whether pictures come with depth and classes of every pixel

    @abstractmethod
    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        """`count` pictures of a split ("train" or "held_out"), each with at least one statement.

        Every statement's `set` is the task's name. Same arguments, same pictures; no picture of one split is
        in the other.
        """

    def lesson(self, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone) -> Any | None:
        """How `backbone` learns this task and is scored, where that is not by answers in words."""
        return None

    def fault(self, answer: str) -> str | None:
        """What is wrong with an answer in the data, whatever its picture, and what to write; or None."""
        return None

    def asked(self, adapter: Adapter, question: str) -> str:
        """The question's text as this family is asked."""
        return question

    def chance(self, question: str, truth: str) -> float:
        """The score to expect of an answer in the right form that knows nothing of the picture."""
        return 0.0

    def score(self, answer: str, truth: str) -> float:
        """How right an answer is, 0 to 1: by default, whether it is the true one to the letter."""
        return float(answer == truth)
