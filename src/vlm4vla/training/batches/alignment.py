"""Alignment of image tokens with words, the counterpart of a real vision encoder's contrastive training.

A real VLM starts from a vision encoder that was trained on billions of captions. A tiny VLM starts from
random weights, and with the next-token loss alone it stays on a plateau for hundreds of updates
(docs/decisions.md). So pre-training also uses SigLIP's loss (the sigmoid of a scaled cosine, arXiv
2303.15343) between each image token and the words that name the thing there: first alone, then in addition to
the next-token loss. The words are rows of the family's own embedding table, and nothing is added to the
backbone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import QuestionSet
from vlm4vla.training.components.samples import ShuffledIds

LOCATION_SET = "where"  # the question set whose questions name a thing and whose answers name a cell
GRID = 8  # cells a side: `<loc00>` ... `<loc63>` number the cells row by row


class Alignment(nn.Module):
    """SigLIP's loss for image tokens. Its learnt temperature and bias are not saved with the backbone.

    `word_ids`: (W,) int64, the token ids of the words.
    """

    def __init__(self, backbone: LoadedBackbone, word_ids: Tensor):
        super().__init__()
        self.backbone = backbone
        self.temperature = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-4.0))
        self.register_buffer("word_ids", word_ids)

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, summed over words and averaged over image tokens.

        `tokens`: (B, P, d) or (B * P, d), the image tokens. `labels`: (B, P, W) bool, whether the word
        names the thing in the patch.
        """
        tokens = nn.functional.normalize(tokens.reshape(*labels.shape[:2], -1), dim=-1)
        words = nn.functional.normalize(self.backbone.word_embedding().weight[self.word_ids], dim=-1)
        scores = tokens @ words.T * self.temperature.exp() + self.bias
        targets = labels.to(scores.dtype)
        losses = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return losses.sum(-1).mean()


class AlignmentObjective(nn.Module):
    """`Alignment` alone: it trains the vision encoder, the projector and the words' embeddings."""

    def __init__(self, backbone: LoadedBackbone, alignment: Alignment):
        super().__init__()
        self.model = backbone.model
        self.backbone = backbone
        self.alignment = alignment

    def forward(self, batch: tuple[dict[str, Any], Tensor]) -> Tensor:
        """`batch`: vision inputs of `LoadedBackbone.encode_images`, and labels (B, P, W) bool."""
        inputs, labels = batch
        with self.backbone.adapter.image_states_kept(self.model) as captured:
            self.backbone.adapter.see(self.model, inputs)
        return self.alignment(captured[0], labels)


class PatchLabels:
    """The words that name the thing in each patch of an image, from statements of the question set `where`.

    `word_ids`: (W,) token ids of all these words.

    Raises UserError if there are no such statements, or if the image tokens show no places of the image.
    """

    def __init__(self, backbone: LoadedBackbone, questions: QuestionSet):
        self.questions = questions
        question_words = {
            number: statement.question.split()
            for number, statement in enumerate(questions.statements)
            if statement.set == LOCATION_SET
        }
        if not question_words:
            raise UserError(
                f"pretraining.alignment: {questions.folder} must have statements of the question set "
                f"{LOCATION_SET!r}: write `alignment: null`"
            )
        self.patches = backbone.adapter.image_patches(backbone.model)
        tokens = backbone.adapter.tokens_of_cells(backbone.model, GRID)
        # Words of every question, such as "where is the ... ?", name nothing.
        common = set.intersection(*map(set, question_words.values())) if len(question_words) > 1 else set()
        words = {
            number: [*(word for word in text if word not in common), questions.statements[number].answer]
            for number, text in question_words.items()
        }
        vocabulary = sorted({word for own in words.values() for word in own})
        column = {word: index for index, word in enumerate(vocabulary)}
        self.word_ids = torch.tensor([backbone.adapter.encode(word)[0] for word in vocabulary])
        self._columns = {number: [column[word] for word in own] for number, own in words.items()}
        self._tokens = {
            number: tokens[int(own[-1].removeprefix("<loc").removesuffix(">"))]
            for number, own in words.items()
        }

    def labels(self, images: np.ndarray) -> Tensor:
        """Return (B, P, W) bool for the numbers (B,) of images."""
        labels = np.zeros((len(images), self.patches, len(self.word_ids)), dtype=bool)
        for row, image in zip(labels, images, strict=True):
            for number in self.questions.statement_numbers(image):
                if number in self._columns:
                    row[np.ix_(self._tokens[number], self._columns[number])] = True
        return torch.from_numpy(labels)


class AlignmentBatches:
    """The samples of `AlignmentObjective`."""

    def __init__(self, backbone: LoadedBackbone, patch_labels: PatchLabels, batch: int, seed: int):
        self.backbone = backbone
        self.patch_labels = patch_labels
        self._images = ShuffledIds(len(patch_labels.questions), batch, seed)

    def ids(self, step: int) -> np.ndarray:
        """Return the numbers of the images of update `step`."""
        return self._images.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Tensor]:
        """Return the vision inputs and the labels of images `ids`."""
        images = self.patch_labels.questions.images(ids)
        return self.backbone.encode_images(images), self.patch_labels.labels(ids)
