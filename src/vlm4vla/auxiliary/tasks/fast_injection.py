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
from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.data.questions.dataset import TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Picture

if TYPE_CHECKING:
    from vlm4vla.backbones.adapter import Adapter

SET = "fast"
BLIND_OF = 2000  # training answers
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

    @cached_property
    def blind_error(self) -> float:
        """Mean absolute error, over training answers, of the one chunk that serves all of them best."""
        answers = [statement.answer for statement in read_questions(self.data, TRAIN).statements[:BLIND_OF]]
        chunks = np.stack([self.tokenizer.decode(read_tokens(answer))[0] for answer in answers])
        return float(np.abs(chunks - np.median(chunks, axis=0)).mean())

    def score(self, answer: str, truth: str) -> float:
        """1 - mean absolute error of the chunk that is said, in units of `blind_error`.

        1 is the true chunk; 0 is as good as one chunk for every picture, and what is no chunk; below 0 is
        worse.
        """
        said, whole = self.tokenizer.decode(read_tokens(answer))
        wanted, _ = self.tokenizer.decode(read_tokens(truth))
        return 1 - float(np.abs(said - wanted).mean()) / self.blind_error if whole else 0.0
