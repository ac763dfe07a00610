"""Alignment of picture tokens with words, as contrastive image-text training gives a real vision encoder.

A real VLM starts from a vision encoder that has met billions of captions; a tiny one starts from noise, and
the next-token loss alone leaves it on a plateau for hundreds of updates (docs/decisions.md). So pre-training
has SigLIP's loss (sigmoid of a scaled cosine, arXiv 2303.15343) between each picture token and the words that
name what lies there: alone at first, then beside the next-token loss. The words are rows of the family's own
embedding table, and nothing is added to the backbone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import Questions
from vlm4vla.training.components.samples import ShuffledIds

SET = "where"  # its questions name a thing, its answers a cell
GRID = 8  # cells a side that `<loc00>` ... `<loc63>` number


class Alignment(nn.Module):
    """SigLIP's loss for picture tokens; its learnt temperature and bias are not kept with the backbone.

    `ids` (W,) int64: ids of the words.
    """

    def __init__(self, backbone: LoadedBackbone, ids: Tensor):
        super().__init__()
        self.backbone = backbone
        self.temperature = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-4.0))
        self.register_buffer("ids", ids)

    def forward(self, tokens: Tensor, named: Tensor) -> Tensor:
        """Mean over picture tokens of the loss summed over words.

        `tokens` (B, P, d) or (B * P, d): picture tokens. `named` (B, P, W) bool: what is there is called so.
        """
        tokens = nn.functional.normalize(tokens.reshape(*named.shape[:2], -1), dim=-1)
        words = nn.functional.normalize(self.backbone.word_embedding().weight[self.ids], dim=-1)
        scores = tokens @ words.T * self.temperature.exp() + self.bias
        wanted = named.to(scores.dtype)
        losses = nn.functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
        return losses.sum(-1).mean()


class AlignmentObjective(nn.Module):
    """`Alignment` alone: the vision encoder, the projector and the words, without the language model."""

    def __init__(self, backbone: LoadedBackbone, alignment: Alignment):
        super().__init__()
        self.model = backbone.model
        self.backbone = backbone
        self.alignment = alignment

    def forward(self, batch: tuple[dict[str, Any], Tensor]) -> Tensor:
        """`batch`: vision inputs of `LoadedBackbone.encode_images` and (B, P, W) bool."""
        inputs, named = batch
        with picture_tokens(self.backbone) as seen:
            self.backbone.adapter.see(self.model, inputs)
        return self.alignment(seen[0], named)


class Named:
    """Which words name what lies in which patch of a picture, from the questions of the set `where`.

    Raises UserError when there are none or when picture tokens are not the patches of a square.
    """

    def __init__(self, backbone: LoadedBackbone, questions: Questions):
        self.questions = questions
        self.side = math.isqrt(backbone.adapter.image_tokens)
        asked = {
            number: statement.question.split()
            for number, statement in enumerate(questions.statements)
            if statement.set == SET
        }
        if not asked or self.side**2 != backbone.adapter.image_tokens:
            raise UserError(
                f"pretraining.alignment: {questions.folder} needs statements of the set {SET!r}, and picture "
                f"tokens a square (there are {backbone.adapter.image_tokens}): write `alignment: null`"
            )
        frame = set.intersection(*map(set, asked.values())) if len(asked) > 1 else set()  # "where is the ?"
        words = {
            number: [*(word for word in text if word not in frame), questions.statements[number].answer]
            for number, text in asked.items()
        }
        vocabulary = sorted({word for own in words.values() for word in own})
        column = {word: place for place, word in enumerate(vocabulary)}
        self.ids = torch.tensor([backbone.adapter.encode(word)[0] for word in vocabulary])
        self._columns = {number: [column[word] for word in own] for number, own in words.items()}
        self._patches = {number: self._patch(own[-1]) for number, own in words.items()}

    def _patch(self, place: str) -> int:
        """The picture token that holds the cell `<locNN>`."""
        row, column = divmod(int(place.removeprefix("<loc").removesuffix(">")), GRID)
        return row * self.side // GRID * self.side + column * self.side // GRID

    def of(self, pictures: np.ndarray) -> Tensor:
        """(B, P, W) bool for picture numbers (B,)."""
        named = np.zeros((len(pictures), self.side**2, len(self.ids)), dtype=bool)
        for row, picture in zip(named, pictures, strict=True):
            for number in self.questions.of(picture):
                if number in self._columns:
                    row[self._patches[number], self._columns[number]] = True
        return torch.from_numpy(named)


class PictureBatches:
    """Samples of `AlignmentObjective`."""

    def __init__(self, backbone: LoadedBackbone, named: Named, batch: int, seed: int):
        self.backbone = backbone
        self.named = named
        self._pictures = ShuffledIds(len(named.questions), batch, seed)

    def ids(self, step: int) -> np.ndarray:
        """Pictures of an update."""
        return self._pictures.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Tensor]:
        """Vision inputs and what is named where."""
        return self.backbone.encode_images(self.named.questions.images(ids)), self.named.of(ids)


@contextmanager
def picture_tokens(backbone: LoadedBackbone) -> Iterator[list[Tensor]]:
    """Within, a forward of the model leaves its picture tokens, (B, P, d) or (B * P, d), in the list."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            output = output[0] if isinstance(output, tuple) else output.pooler_output
        seen.append(output)

    hook = backbone.adapter.projector(backbone.model).register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
