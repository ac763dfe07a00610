"""A backbone in memory, with the same interface for every family: text and images in, hidden states out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.finite import DIVERGED, check_finite
from vlm4vla.backbones.kernels.patch_embedding import use_matrix_products
from vlm4vla.backbones.kernels.small_inputs import use_small_inputs
from vlm4vla.backbones.kernels.small_models import use_small_functions
from vlm4vla.backbones.whole_words import remove_marks
from vlm4vla.config.reading import Reading

logging.disable_progress_bar()  # each stage logs its own progress


class LoadedBackbone:
    """A transformers model with its tokenizer, image processor and adapter.

    Attributes: `model`, `tokenizer`, `image_processor`, `adapter`, `image_size` (pixels), `hidden_size` (d).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any,
        adapter: Adapter,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.adapter = adapter
        self.image_size = adapter.image_size
        self.hidden_size: int = model.config.get_text_config().hidden_size
        self.end_id: int = adapter.end_id()
        self._prompts: dict[str, list[int]] = {}
        self._positions = adapter.positions(64)
        use_matrix_products(model)
        adapter.prepare(model)
        use_small_functions(model)
        use_small_inputs(model)

    def read_as(self, reading: Reading) -> LoadedBackbone:
        """The same model, tokenizer and image processor, which read prompts as `reading` says."""
        return LoadedBackbone(self.model, self.tokenizer, self.image_processor, self.adapter.read_as(reading))

    # Text ---------------------------------------------------------------------------------------------

    def question_ids(self, question: str) -> list[int]:
        """Ids of an image and its first question, up to the start of the answer."""
        adapter = self.adapter
        return adapter.before + adapter.image_ids + adapter.encode(adapter.after_image(question))

    def prompt_ids(self, instruction: str) -> list[int]:
        """Ids of the VLA prompt for an instruction. The list is cached: do not change it."""
        if instruction not in self._prompts:
            self._prompts[instruction] = self.question_ids(self.adapter.instruction(instruction))
        return self._prompts[instruction]

    def answer_ids(self, answer: str) -> list[int]:
        """Ids of an answer, followed by the family's end token (`end_id`)."""
        return [*self.adapter.encode(answer), self.end_id]

    def conversation_ids(self, statements: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
        """The ids of (question, answer) turns about one image, and a mask: 1 for each target id, else 0.

        The targets are all answers with their end tokens. The mask at position t belongs to id t, which is
        predicted from the ids before it.
        """
        ids: list[int] = []
        is_target: list[int] = []
        for turn, (question, answer) in enumerate(statements):
            next_turn = self.adapter.next_turn(question)
            question_ids = self.adapter.encode(next_turn) if turn else self.question_ids(question)
            answer_ids = self.answer_ids(answer)
            ids += question_ids + answer_ids
            is_target += [0] * len(question_ids) + [1] * len(answer_ids)
        return ids, is_target

    def decode(self, ids: Sequence[int]) -> str:
        """Decode an answer's ids up to the end token, without special tokens."""
        ids = [int(i) for i in ids]
        if self.end_id in ids:
            ids = ids[: ids.index(self.end_id)]
        return remove_marks(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    # Batches ------------------------------------------------------------------------------------------

    def encode_images(self, images: np.ndarray | Tensor) -> dict[str, Any]:
        """Vision inputs for images (B, H, W, 3) uint8, equal to those of the family's image processor.

        Raises ValueError for another shape or type.
        """
        images = torch.as_tensor(images)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(
                f"images must be uint8 of shape (B, H, W, 3), got {images.dtype} {tuple(images.shape)}"
            )
        return self.adapter.process(images, self.image_processor)

    def batch(self, ids: Sequence[Sequence[int]], images: np.ndarray | Tensor) -> dict[str, Any]:
        """Inputs of `model(**batch)` for B id lists, padded on the left, and images (B, H, W, 3) uint8.

        Every list must start like those of `question_ids`, with the image at its fixed position.
        """
        longest = max(map(len, ids))
        padded = np.full((len(ids), longest), self.tokenizer.pad_token_id, dtype=np.int64)
        for row, sequence in zip(padded, ids, strict=True):
            row[longest - len(sequence) :] = sequence
        padding = torch.tensor([longest - len(sequence) for sequence in ids])
        index = torch.arange(longest) - padding[:, None]  # (B, T): each token's index in its own sequence
        real = index >= 0
        start = self.adapter.image_start
        is_image = (index >= start) & (index < start + self.adapter.image_tokens)
        if self._positions.shape[-1] < longest:
            with torch.inference_mode(False):  # training may later use a tensor that a rollout created
                self._positions = self.adapter.positions(2 * longest)
        batch = {
            "input_ids": torch.from_numpy(padded),
            "attention_mask": real.long(),
            "position_ids": self._positions[..., index.clamp(min=0)],
        }
        return batch | self.adapter.extras(is_image, real) | self.encode_images(images)

    # Model --------------------------------------------------------------------------------------------

    def vision_encoder(self) -> list[nn.Module]:
        """The modules that `freeze: vision` freezes; each family's file says if the projector is included."""
        return self.adapter.vision_encoder(self.model)

    def word_embedding(self) -> nn.Module:
        """The module that `freeze: embedding` freezes."""
        return self.adapter.word_embedding(self.model)

    def hidden(self, batch: dict[str, Any], query: Tensor) -> Tensor:
        """The hidden state (B, d) of `query` after the final norm.

        `query`: (d,), an embedding that is appended to every sequence as its last token. The output layer is
        not called.
        """
        return self.adapter.query_state(self.model, batch, query)

    def save(self, folder: Path) -> None:
        """Write an ordinary Hugging Face folder. Each file is written atomically, the weights last.

        Raises UserError, before it writes anything, if a weight is NaN or infinite.
        """
        folder = Path(folder)
        check_finite(self.model.state_dict(), str(folder), DIVERGED)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving.", dir=folder) as temporary:
            for part in (self.model, *self.adapter.saved(self.tokenizer, self.image_processor)):
                part.save_pretrained(temporary)
            files = sorted(Path(temporary).iterdir(), key=lambda file: file.suffix == ".safetensors")
            for file in files:
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
                file.replace(folder / file.name)
