"""How a VLM learns omni-generation with a diffusion decoder, and how well the two then generate.

The score of a modality is R2 against the training split's own mean: 1 - (squared error of what is generated)
/ (squared error of the mean picture, or mean depth map, of the training split), and for segmentation 1 -
(wrong pixels) / (wrong pixels of each pixel's commonest class). Zero is what can be drawn without seeing the
picture, one is the truth, and only what the VLM's states carry of the picture brings it above zero. The
task's score is the mean over the three modalities. "Before" is the untrained decoder on the base VLM: noise
that is hardly changed, below zero and shown as zero. How much of "after" is the decoder's
learning and how much the VLM's it does not tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.auxiliary.fine_tuning.base import Lesson, mean_score
from vlm4vla.auxiliary.fine_tuning.decoder import Decoder
from vlm4vla.auxiliary.tasks.omni_generation import (
    DEPTH,
    IMAGE,
    MODALITIES,
    REQUESTS,
    SEGMENTATION,
    OmniGeneration,
)
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import hidden_states
from vlm4vla.backbones.vocabulary import add_words, has_word_tokens
from vlm4vla.config.stages import AuxiliarySettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN, Questions
from vlm4vla.data.questions.dense import Dense, read_dense
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.training.components.samples import ShuffledIds

BATCH = 32  # pictures generated at once
REFERENCE = 1000  # training pictures that the mean is taken over
SHOWN = 6  # held-out scenes on the page


class Maps:
    """Pictures, depth maps and masks of one split as the decoder draws them, (n, 3, S, S) in [-1, 1].

    S is `size`. Pictures and depth are averaged down from the data's size; of the classes, one pixel in each
    square is taken, since the mean of two colours would be a third class's. Depth has three equal channels.
    """

    def __init__(self, pictures: Questions, dense: Dense, size: int):
        self.pictures = pictures
        self.dense = dense
        self.size = size
        self.factor = pictures.image_size // size
        self.colours = torch.tensor(list(dense.palette.values()), dtype=torch.float32) / 127.5 - 1

    def of(self, modality: str, ids: np.ndarray) -> Tensor:
        """Maps of the pictures `ids`."""
        if modality == SEGMENTATION:
            return self.colours[torch.from_numpy(self.classes(ids))].permute(0, 3, 1, 2)
        if modality == DEPTH:
            near, far = self.dense.limits
            metres = torch.from_numpy(self.dense.depth(ids)).clamp(near, far)
            maps = (2 * (metres - near) / (far - near) - 1)[:, None].expand(-1, 3, -1, -1)
        else:
            maps = torch.from_numpy(self.pictures.images(ids)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return nn.functional.avg_pool2d(maps, self.factor)

    def classes(self, ids: np.ndarray) -> np.ndarray:
        """(n, size, size) int64, places in the palette."""
        half = self.factor // 2
        return self.dense.classes(ids)[:, half :: self.factor, half :: self.factor].astype(np.int64)

    def metres(self, maps: Tensor) -> np.ndarray:
        """(n, size, size) of depth maps (n, 3, size, size)."""
        near, far = self.dense.limits
        return (near + (maps.mean(1) + 1) / 2 * (far - near)).numpy()

    def nearest(self, maps: Tensor) -> np.ndarray:
        """Classes (n, size, size) int64 whose colours are nearest to those of `maps` (n, 3, size, size)."""
        return (
            torch.cdist(maps.permute(0, 2, 3, 1).flatten(1, 2), self.colours)
            .argmin(-1)
            .reshape(len(maps), self.size, self.size)
            .numpy()
        )


class GenerationObjective(nn.Module):
    """The decoder's loss on a batch of `GenerationBatches`; its gradient reaches every weight of the VLM that
    the hidden states depend on."""

    def __init__(self, backbone: LoadedBackbone, decoder: Decoder):
        super().__init__()
        self.model = backbone.model
        self.backbone = backbone
        self.decoder = decoder

    def forward(self, batch: tuple[dict[str, Any], Tensor]) -> Tensor:
        """`batch`: model inputs of B prompts, and maps (B, 3, S, S) in [-1, 1]."""
        inputs, maps = batch
        states = hidden_states(self.backbone, inputs)
        return self.decoder.loss(maps, states, inputs["attention_mask"].bool())


class GenerationBatches:
    """Pictures and requests; sample i is modality i % 3 of picture i // 3."""

    def __init__(self, backbone: LoadedBackbone, maps: Maps, batch: int, seed: int):
        self.backbone = backbone
        self.maps = maps
        self.prompts = [backbone.question_ids(REQUESTS[modality]) for modality in MODALITIES]
        self._samples = ShuffledIds(len(maps.pictures) * len(MODALITIES), batch, seed)

    def ids(self, step: int) -> np.ndarray:
        """Samples of an update."""
        return self._samples.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Tensor]:
        """Model inputs and maps of samples `ids`."""
        pictures, kinds = np.divmod(ids, len(MODALITIES))
        inputs = self.backbone.batch([self.prompts[k] for k in kinds], self.maps.pictures.images(pictures))
        maps = torch.empty(len(ids), 3, self.maps.size, self.maps.size)
        for kind, modality in enumerate(MODALITIES):
            rows = np.nonzero(kinds == kind)[0]
            if len(rows):
                maps[torch.from_numpy(rows)] = self.maps.of(modality, pictures[rows])
        return inputs, maps


class GenerationLesson(Lesson):
    """Raises UserError for data without depth or segmentation, and for a decoder that does not fit it."""

    def __init__(self, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone):
        decoder = settings.decoder
        if decoder is None:
            raise UserError(f"auxiliary.tasks.{settings.task}.decoder: missing: write its widths")
        if settings.image_size % decoder.size:
            raise UserError(
                f"auxiliary.tasks.{settings.task}.decoder.size: {decoder.size} does not divide image_size "
                f"{settings.image_size}: write one that does"
            )
        self.settings = settings
        self.train, self.held_out = (
            Maps(
                read_questions(data, split),
                read_dense(data, split, settings.image_size, OmniGeneration.name),
                decoder.size,
            )
            for split in (TRAIN, HELD_OUT)
        )
        if has_word_tokens(backbone):  # a real tokenizer spells words that it lacks
            backbone = add_words(
                backbone, sorted({word for text in REQUESTS.values() for word in text.split()})
            )
        self.backbone = backbone
        tokens = max(len(backbone.question_ids(request)) for request in REQUESTS.values())
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            start = backbone.adapter.image_start
            picture = (start, start + backbone.adapter.image_tokens)
            self.decoder = Decoder(decoder, backbone.hidden_size, tokens, picture)

    def objective(self) -> GenerationObjective:
        return GenerationObjective(self.backbone, self.decoder)

    def samples(self) -> GenerationBatches:
        return GenerationBatches(self.backbone, self.train, self.settings.training.batch, self.settings.seed)

    def generate(self, modality: str, ids: np.ndarray) -> Tensor:
        """Maps (n, 3, S, S) in [-1, 1] of held-out pictures; a picture's noise is the same at every call."""
        self.decoder.eval()
        prompt = self.backbone.question_ids(REQUESTS[modality])
        device = self.decoder.places.device
        found = []
        for begin in range(0, len(ids), BATCH):
            part = ids[begin : begin + BATCH]
            noise = [self._noise(modality, int(number)) for number in part]
            inputs = self.backbone.batch([prompt] * len(part), self.held_out.pictures.images(part))
            inputs = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
            with torch.inference_mode():
                states = hidden_states(self.backbone, inputs)
                real = inputs["attention_mask"].bool()
                found.append(self.decoder.draw(torch.stack(noise).to(device), states, real).cpu())
        return torch.cat(found)

    def _noise(self, modality: str, number: int) -> Tensor:
        side = self.held_out.size
        random = np.random.default_rng([self.settings.seed, MODALITIES.index(modality), number])
        return torch.from_numpy(random.standard_normal((3, side, side), dtype=np.float32))

    def score(self) -> dict[str, Any]:
        """The task's score and each modality's, over held-out pictures, which are independent of each other.

        Every picture is asked for all modalities: `questions` is three times the number of pictures.
        """
        ids = np.arange(min(max(self.settings.questions // len(MODALITIES), 1), len(self.held_out.pictures)))
        values = {modality: self._values(modality, ids) for modality in MODALITIES}
        whole = mean_score(np.mean(list(values.values()), axis=0), len(ids) * len(MODALITIES))
        return whole | {"modalities": {m: mean_score(v, len(ids)) for m, v in values.items()}}

    def _values(self, modality: str, ids: np.ndarray) -> np.ndarray:
        """(n,): each picture's 1 - error / mean error of the reference."""
        drawn = self.generate(modality, ids)
        known = np.arange(min(REFERENCE, len(self.train.pictures)))
        if modality == SEGMENTATION:
            truth, classes = self.held_out.classes(ids), self.train.classes(known)
            counts = [(classes == number).sum(0) for number in range(len(self.train.colours))]
            errors = [guess != truth for guess in (self.held_out.nearest(drawn), np.argmax(counts, axis=0))]
        else:
            truth = self.held_out.of(modality, ids)
            if modality == DEPTH:
                drawn = drawn.mean(1, keepdim=True)
            errors = [
                ((guess - truth) ** 2).mean(1).numpy()
                for guess in (drawn, self.train.of(modality, known).mean(0))
            ]
        error, reference = (e.mean((1, 2)) for e in errors)
        return 1 - error / max(float(reference.mean()), 1e-9)

    def drawings(self) -> Any:
        """Held-out scenes with true and generated images, the colour of each class, and the depth range."""
        ids = np.arange(min(SHOWN, len(self.held_out.pictures)))
        drawn = {modality: self.generate(modality, ids) for modality in MODALITIES}
        palette = np.array(list(self.held_out.dense.palette.values()), np.uint8)
        pictures = (
            ((drawn[IMAGE].permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        )
        metres, classes = self.held_out.metres(drawn[DEPTH]), self.held_out.nearest(drawn[SEGMENTATION])
        scenes = [
            (
                self.held_out.pictures.images([number])[0],
                pictures[row],
                self.held_out.dense.depth([number])[0],
                metres[row],
                palette[self.held_out.dense.classes([number])[0]],
                palette[classes[row]],
            )
            for row, number in enumerate(ids)
        ]
        dense = self.held_out.dense
        return scenes, dense.palette, dense.limits
