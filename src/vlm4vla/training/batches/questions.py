"""Batches of question answering: one text with several statements per image, drawn again at each update."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import hidden_states_at, logits
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import QuestionSet
from vlm4vla.data.questions.statements import Statement
from vlm4vla.training.batches.alignment import Alignment, PatchLabels
from vlm4vla.training.components.samples import ShuffledIds

MAX_CACHED = 50_000  # tokenised questions and answers; also statements


class QuestionObjective(nn.Module):
    """The mean cross-entropy of the answer tokens of a `QuestionBatches` batch, including the end tokens.

    With `alignment`, `weight` times its loss is added.
    """

    def __init__(self, backbone: LoadedBackbone, alignment: Alignment | None = None, weight: float = 0.0):
        super().__init__()
        self.model = backbone.model
        self.backbone = backbone
        self.alignment = alignment
        self.weight = weight

    def forward(self, batch: tuple[dict[str, Any], Tensor, Tensor | None]) -> Tensor:
        """`batch`: the model inputs, the answer mask (B, T) bool, and the labels of `PatchLabels` or None.

        The answer mask is true for each token that is predicted from the tokens before it.
        """
        inputs, answer_mask, labels = batch
        with self.backbone.adapter.image_states_kept(self.model) as captured:
            before = nn.functional.pad(answer_mask[:, 1:], (0, 1))  # the positions that predict the tokens
            hidden = hidden_states_at(self.backbone, inputs, before)  # (tokens, d)
        loss = nn.functional.cross_entropy(logits(self.backbone, hidden), inputs["input_ids"][answer_mask])
        return loss if self.alignment is None else loss + self.weight * self.alignment(captured[0], labels)

    @staticmethod
    def terms(batch: tuple[dict[str, Any], Tensor, Tensor | None]) -> int:
        """Return the number of answer tokens that the loss averages."""
        return int(batch[1].sum())


class QuestionBatches:
    """Draws images and, for each image, statements according to a mixture.

    `mixture`: the mean number of statements per image from each question set; 1.5 means one or two. The
    statements of an image come in random order. No two statements of a text name the same location:
    the second statement could be copied from the first instead of being read from the image.

    Raises UserError if a question set of the mixture has no statement.
    """

    def __init__(
        self,
        backbone: LoadedBackbone,
        questions: QuestionSet,
        mixture: dict[str, float],
        batch: int,
        seed: int,
        patch_labels: PatchLabels | None = None,
    ):
        self.backbone = backbone
        self.questions = questions
        self.patch_labels = patch_labels
        self._sets = sorted(mixture)
        self._sums = np.cumsum([0, *(mixture[name] for name in self._sets)])
        present = questions.sets()
        for name in self._sets:
            if name not in present:
                raise UserError(
                    f"pretraining mixture: {questions.folder} has no statement of the question set {name!r}: "
                    f"remove {name!r} from the mixture (found: {', '.join(sorted(present))})"
                )
        self._set_of: list[int] = questions.set_numbers(self._sets).tolist()
        self._locations: dict[int, list[str]] = {}  # by number of the statement
        self._images = ShuffledIds(len(questions), batch, seed)
        self._token_ids: dict[tuple[str, bool], list[int]] = {}

    def ids(self, step: int) -> np.ndarray:
        """Return the numbers of the images of update `step`."""
        return self._images.at(step)

    def batch(
        self, ids: np.ndarray, random: np.random.Generator
    ) -> tuple[dict[str, Any], Tensor, Tensor | None]:
        """Return the model inputs, the answer mask (B, T), and the patch labels (None without them)."""
        texts = [self._text(self.draw(image, random)) for image in ids]
        inputs = self.backbone.batch([text for text, _ in texts], self.questions.images(ids))
        answer_mask = np.zeros(tuple(inputs["input_ids"].shape), dtype=bool)
        for row, (_, mask) in zip(answer_mask, texts, strict=True):
            row[len(row) - len(mask) :] = mask
        labels = None if self.patch_labels is None else self.patch_labels.labels(ids)
        return inputs, torch.from_numpy(answer_mask), labels

    def draw(self, image: int, random: np.random.Generator) -> list[int]:
        """Draw a text about image number `image`: return the numbers of its statements, in order."""
        # One offset rounds all means. Each mean stays exact, and the lengths of texts differ by at most one
        # statement, which keeps the padding short.
        left = np.diff(np.floor(self._sums + random.random())).astype(int).tolist()
        chosen: list[int] = []
        used: set[str] = set()
        for number in random.permutation(self.questions.statement_numbers(image)).tolist():
            group = self._set_of[number]
            if group >= 0 and left[group] > 0:
                locations = self._locations_of(number)
                if used.isdisjoint(locations):
                    left[group] -= 1
                    chosen.append(number)
                    used.update(locations)
        # All means may have been rounded down, but a text needs one statement.
        return chosen or [int(random.choice(self.questions.statement_numbers(image)))]

    def _locations_of(self, number: int) -> list[str]:
        if number not in self._locations:
            _clear_if_full(self._locations)
            self._locations[number] = named_locations(self.questions.statements[number])
        return self._locations[number]

    def _text(self, numbers: list[int]) -> tuple[list[int], list[bool]]:
        """Return ids and answer mask, as `LoadedBackbone.conversation_ids` does, but from cached parts."""
        ids: list[int] = []
        mask: list[bool] = []
        for turn, number in enumerate(numbers):
            statement = self.questions.statements[number]
            question = self._question_ids(statement.question, turn == 0)
            answer = self._answer_ids(statement.answer)
            ids += question + answer
            mask += [False] * len(question) + [True] * len(answer)
        return ids, mask

    def _question_ids(self, question: str, first: bool) -> list[int]:
        key = (question, first)
        if key not in self._token_ids:
            adapter = self.backbone.adapter
            _clear_if_full(self._token_ids)
            self._token_ids[key] = (
                self.backbone.question_ids(question) if first else adapter.encode(adapter.next_turn(question))
            )
        return self._token_ids[key]

    def _answer_ids(self, answer: str) -> list[int]:
        key = (f"answer\t{answer}", False)
        if key not in self._token_ids:
            _clear_if_full(self._token_ids)
            self._token_ids[key] = self.backbone.answer_ids(answer)
        return self._token_ids[key]


def _clear_if_full(cache: dict[Any, Any]) -> None:
    """Empty a cache before it takes much memory: a public dataset has a million questions."""
    if len(cache) >= MAX_CACHED:
        cache.clear()


def named_locations(statement: Statement) -> list[str]:
    """Return the locations in a statement, such as `<loc27>` or `<x07> <y12>`."""
    words = f"{statement.question} {statement.answer}"
    return re.findall(r"<loc\d+>|<x\d+> <y\d+>", words)
