"""FAST injection: a VLM learns to write the action tokens of a benchmark's demonstrations as text.

See table 4 of arXiv 2601.03309. The input is the instruction and the image in the policy's prompt; the output
is the next action chunk as FAST tokens. The vision encoder is frozen or trained. A policy that starts from
this VLM does not keep the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vlm4vla.actions.fast import FastTokenizer
from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.data.questions.dataset import TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Picture

if TYPE_CHECKING:
    from vlm4vla.backbones.adapter import Adapter

SET = "fast"
BLIND_ANSWERS = 2000  # number of training answers behind `blind_error`
TOKENIZER = "fast.json"  # file name in the folder of the data
NAMES: dict[str, Literal["none", "vision"]] = {
    "fast-freeze-vision": "vision",
    "fast-unfreeze-vision": "none",
}


def write_tokens(ids: list[int]) -> str:
    """Write token ids as words."""
    return " ".join(f"<fast{number}>" for number in ids)


def read_tokens(text: str) -> list[int]:
    """Read the token ids of a text. Any other word becomes -1, which is not a valid token id."""
    numbers = [word.removeprefix("<fast").removesuffix(">") for word in text.split()]
    return [int(number) if number.isdigit() else -1 for number in numbers]


class FastInjection(AuxiliaryTask):
    """FAST injection. `data`: the folder that the stage fast-data writes."""

    name = SET
    statements_a_picture = 1.0
    words_stay = False

    def __init__(self, name: str, data: Path):
        self.freeze = NAMES[name]
        self.tokenizer = FastTokenizer.load(data / TOKENIZER)
        self.data = data

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        raise TypeError("FAST injection uses the frames of demonstrations, which the stage fast-data writes")

    def asked(self, adapter: Adapter, question: str) -> str:
        return adapter.instruction(question)

    @cached_property
    def blind_error(self) -> float:
        """The mean absolute error, over training answers, of the best constant chunk."""
        statements = read_questions(self.data, TRAIN).statements[:BLIND_ANSWERS]
        answers = [statement.answer for statement in statements]
        chunks = np.stack([self.tokenizer.decode(read_tokens(answer))[0] for answer in answers])
        return float(np.abs(chunks - np.median(chunks, axis=0)).mean())

    def score(self, answer: str, truth: str) -> float:
        """Return 1 - (mean absolute error of the answer's chunk) / `blind_error`.

        The true chunk scores 1. A score of 0 is as good as the best constant chunk, and a negative score is
        worse. An answer that is not a valid chunk scores 0.
        """
        chunk, is_valid = self.tokenizer.decode(read_tokens(answer))
        true_chunk, _ = self.tokenizer.decode(read_tokens(truth))
        return 1 - float(np.abs(chunk - true_chunk).mean()) / self.blind_error if is_valid else 0.0
