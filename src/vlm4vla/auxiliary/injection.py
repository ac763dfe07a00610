"""FAST injection: a VLM learns to say the action tokens of a benchmark's demonstrations as text.

Table 4 of arXiv 2601.03309: instruction and picture in the policy's own prompt, the next action chunk as FAST
tokens out, with the vision encoder frozen or trained. The policy that is made of it has none of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vlm4vla.actions.fast import FastTokenizer
from vlm4vla.auxiliary.task import Task
from vlm4vla.data.questions import TRAIN, read_questions
from vlm4vla.simulation.questions import Picture

if TYPE_CHECKING:
    from vlm4vla.backbones.adapter import Adapter

SET = "fast"
MEDIAN_OF = 2000  # training chunks
TOKENIZER = "fast.json"  # beside the data
NAMES: dict[str, Literal["none", "vision"]] = {
    "fast-freeze-vision": "vision",
    "fast-unfreeze-vision": "none",
}


def write_tokens(ids: list[int]) -> str:
    """Token ids as words."""
    return " ".join(f"<fast{number}>" for number in ids)


def read_tokens(text: str) -> list[int]:
    """Token ids of a text; a word that is none becomes -1, which no tokenizer knows."""
    numbers = [word.removeprefix("<fast").removesuffix(">") for word in text.split()]
    return [int(number) if number.isdigit() else -1 for number in numbers]


class FastInjection(Task):
    """`data`: the folder that the stage fast-data makes."""

    name = SET
    statements_a_picture = 1.0
    words_stay = False

    def __init__(self, name: str, data: Path):
        self.freeze = NAMES[name]
        self.tokenizer = FastTokenizer.load(data / TOKENIZER)
        self.data = data

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        raise TypeError("FAST injection learns from demonstrations: the stage fast-data makes its pictures")

    def asked(self, adapter: Adapter, question: str) -> str:
        return adapter.instruction(question)

    def chance(self, question: str, truth: str) -> float:
        """The score of one chunk for every picture: the median of training chunks."""
        return 1 - float(np.abs(self.median_chunk - self.tokenizer.decode(read_tokens(truth))[0]).mean()) / 2

    @cached_property
    def median_chunk(self) -> np.ndarray:
        """(T, 7): value by value, over the first training answers."""
        answers = [statement.answer for statement in read_questions(self.data, TRAIN).statements[:MEDIAN_OF]]
        return np.median([self.tokenizer.decode(read_tokens(answer))[0] for answer in answers], axis=0)

    def score(self, answer: str, truth: str) -> float:
        """1 - half the mean absolute error of the chunk that is said, in [-1, 1]; 0 when it is no chunk."""
        said, whole = self.tokenizer.decode(read_tokens(answer))
        wanted, _ = self.tokenizer.decode(read_tokens(truth))
        return 1 - float(np.abs(said - wanted).mean()) / 2 if whole else 0.0
