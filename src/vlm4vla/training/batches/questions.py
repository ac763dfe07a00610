"""Batches of pre-training: several statements about a picture in one text, drawn anew at each update."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import hidden_states, logits
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import Questions
from vlm4vla.data.questions.statements import Statement
from vlm4vla.training.batches.alignment import Alignment, Named, picture_tokens
from vlm4vla.training.components.samples import ShuffledIds

MOST_KEPT = 50_000  # pieces of text, or statements


class QuestionObjective(nn.Module):
    """Mean cross-entropy of the learnt tokens (answers and their end) of a `QuestionBatches` batch, and
    `weight` times the loss of `alignment` when there is one."""

    def __init__(self, backbone: LoadedBackbone, alignment: Alignment | None = None, weight: float = 0.0):
        super().__init__()
        self.model = backbone.model
        self.backbone = backbone
        self.alignment = alignment
        self.weight = weight

    def forward(self, batch: tuple[dict[str, Any], Tensor, Tensor | None]) -> Tensor:
        """`batch`: model inputs, (B, T) bool, true where the token is learnt from those before it, and what
        `Named` says of the pictures."""
        inputs, learnt, named = batch
        with picture_tokens(self.backbone) as seen:
            states = hidden_states(self.backbone, inputs)
        hidden = states[:, :-1][learnt[:, 1:]]  # (tokens, d)
        loss = nn.functional.cross_entropy(logits(self.backbone, hidden), inputs["input_ids"][learnt])
        return loss if self.alignment is None else loss + self.weight * self.alignment(seen[0], named)

    @staticmethod
    def terms(batch: tuple[dict[str, Any], Tensor, Tensor | None]) -> int:
        """How many learnt tokens the loss is a mean over."""
        return int(batch[1].sum())


class QuestionBatches:
    """Draws pictures and, for each, statements by a recipe's mixture.

    `mixture`: mean number of statements a picture from each set; 1.5 means one or two. Statements of a
    picture come in random order. No two of them name the same place: the second could be copied from the
    first instead of being seen.
    """

    def __init__(
        self,
        backbone: LoadedBackbone,
        questions: Questions,
        mixture: dict[str, float],
        batch: int,
        seed: int,
        named: Named | None = None,
    ):
        self.backbone = backbone
        self.questions = questions
        self.named = named
        self._sets = sorted(mixture)
        self._means = np.array([mixture[name] for name in self._sets])
        present = questions.sets()
        for name in self._sets:
            if name not in present:
                raise UserError(
                    f"pretraining mixture: {questions.folder} holds no statement of the set {name!r}: "
                    f"take it out of the mixture (found: {', '.join(sorted(present))})"
                )
        self._set_of = questions.set_numbers(self._sets)
        self._places: dict[int, list[str]] = {}
        self._pictures = ShuffledIds(len(questions), batch, seed)
        self._pieces: dict[tuple[str, bool], list[int]] = {}

    def ids(self, step: int) -> np.ndarray:
        """Pictures of an update."""
        return self._pictures.at(step)

    def batch(
        self, ids: np.ndarray, random: np.random.Generator
    ) -> tuple[dict[str, Any], Tensor, Tensor | None]:
        """Model inputs, the mask of learnt tokens (B, T), and what is named where (None without `named`)."""
        texts = [self._text(self.draw(picture, random)) for picture in ids]
        inputs = self.backbone.batch([text for text, _ in texts], self.questions.images(ids))
        learnt = np.zeros(tuple(inputs["input_ids"].shape), dtype=bool)
        for row, (_, mask) in zip(learnt, texts, strict=True):
            row[len(row) - len(mask) :] = mask
        return inputs, torch.from_numpy(learnt), None if self.named is None else self.named.of(ids)

    def draw(self, picture: int, random: np.random.Generator) -> list[int]:
        """Numbers of the statements that a text about `picture` holds, in order."""
        # One offset rounds all means: each stays true, and texts differ by one statement in all, which
        # keeps the padding short.
        left = np.diff(np.floor(np.cumsum([0, *self._means]) + random.random()))
        chosen: list[int] = []
        taken: set[str] = set()
        for number in random.permutation(self.questions.of(picture)):
            of = self._set_of[number]
            places = self._places_of(int(number))
            if of >= 0 and left[of] > 0 and taken.isdisjoint(places):
                left[of] -= 1
                chosen.append(int(number))
                taken.update(places)
        # A text needs one statement; a picture's draw may have rounded all means down.
        return chosen or [int(random.choice(self.questions.of(picture)))]

    def _places_of(self, number: int) -> list[str]:
        if number not in self._places:
            _bound(self._places)
            self._places[number] = places_named(self.questions.statements[number])
        return self._places[number]

    def _text(self, numbers: list[int]) -> tuple[list[int], list[bool]]:
        """Ids and learnt mask; the same as `LoadedBackbone.conversation_ids`, from kept pieces."""
        ids: list[int] = []
        learnt: list[bool] = []
        for turn, number in enumerate(numbers):
            statement = self.questions.statements[number]
            asked = self._asked(statement.question, turn == 0)
            answered = self._answered(statement.answer)
            ids += asked + answered
            learnt += [False] * len(asked) + [True] * len(answered)
        return ids, learnt

    def _asked(self, question: str, first: bool) -> list[int]:
        key = (question, first)
        if key not in self._pieces:
            adapter = self.backbone.adapter
            _bound(self._pieces)
            self._pieces[key] = (
                self.backbone.question_ids(question) if first else adapter.encode(adapter.next_turn(question))
            )
        return self._pieces[key]

    def _answered(self, answer: str) -> list[int]:
        key = (f"answer\t{answer}", False)
        if key not in self._pieces:
            _bound(self._pieces)
            self._pieces[key] = self.backbone.answer_ids(answer)
        return self._pieces[key]


def _bound(kept: dict[Any, Any]) -> None:
    """Forget what is kept before it takes much memory: a public set has a million questions."""
    if len(kept) >= MOST_KEPT:
        kept.clear()


def places_named(statement: Statement) -> list[str]:
    """The places in a statement, such as `<loc27>` or `<x07> <y12>`."""
    words = f"{statement.question} {statement.answer}"
    return re.findall(r"<loc\d+>|<x\d+> <y\d+>", words)
