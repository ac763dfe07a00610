"""Fine-tuning on omni-generation: a VLM is trained together with a diffusion decoder, and both are scored.

The score of a modality is R2 against a baseline that ignores the image. For images and depth it is
1 - (squared error of the generated map) / (squared error of the training split's mean map). For segmentation
it is 1 - (wrong pixels) / (wrong pixels when each pixel gets its most common class of the training split).
Zero is the best result without seeing the image, and one is the truth. The score is above zero only if the
VLM's hidden states carry information about the image. The task's score is the mean over three modalities.

"Before" is the score of an untrained decoder on the base VLM. Its output is almost pure noise, so the score
is below zero and is shown as zero. "After" does not separate the decoder's learning from the VLM's learning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.auxiliary.fine_tuning.base import FineTuning, mean_score
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
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN, QuestionSet
from vlm4vla.data.questions.dense import DenseMaps, read_dense
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.training.components.samples import ShuffledIds

BATCH = 32  # maps generated at once
REFERENCE = 1000  # number of training images for the baseline of the score
SHOWN = 6  # held-out scenes in the figure


class Maps:
    """Images, depth maps and segmentation maps of one split in the decoder's format.

    A map has shape (n, 3, S, S) with S = `size`, and values in [-1, 1]. Depth has three equal channels.
    Images and depth are downsampled by averaging. For classes, one pixel of each square is used, because the
    mean of two classes' colours could be the colour of a third class.
    """

    def __init__(self, pictures: QuestionSet, dense: DenseMaps, size: int):
        self.pictures = pictures
        self.dense = dense
        self.size = size
        self.factor = pictures.image_size // size
        self.colours = torch.tensor(list(dense.palette.values()), dtype=torch.float32) / 127.5 - 1

    def target_maps(self, modality: str, ids: np.ndarray) -> Tensor:
        """Return the true maps (n, 3, S, S) of the pictures `ids`."""
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
        """Return (n, size, size) int64: each pixel's index in the palette."""
        half = self.factor // 2
        return self.dense.classes(ids)[:, half :: self.factor, half :: self.factor].astype(np.int64)

    def metres(self, maps: Tensor) -> np.ndarray:
        """Convert depth maps (n, 3, size, size) in [-1, 1] to metres (n, size, size)."""
        near, far = self.dense.limits
        return (near + (maps.mean(1) + 1) / 2 * (far - near)).numpy()

    def nearest_classes(self, maps: Tensor) -> np.ndarray:
        """Return the classes (n, size, size) int64 with the nearest colours to `maps` (n, 3, size, size)."""
        return (
            torch.cdist(maps.permute(0, 2, 3, 1).flatten(1, 2), self.colours)
            .argmin(-1)
            .reshape(len(maps), self.size, self.size)
            .numpy()
        )


class GenerationObjective(nn.Module):
    """The decoder's loss on a batch of `GenerationBatches`.

    Its gradient reaches every weight of the VLM that the hidden states depend on.
    """

    def __init__(self, backbone: LoadedBackbone, decoder: Decoder):
        super().__init__()
        self.model = backbone.model
        self.backbone = backbone
        self.decoder = decoder

    def forward(self, batch: tuple[dict[str, Any], Tensor]) -> Tensor:
        """Return the loss of `batch`: the model inputs of B prompts, and maps (B, 3, S, S) in [-1, 1]."""
        inputs, maps = batch
        states = hidden_states(self.backbone, inputs)
        return self.decoder.loss(maps, states, inputs["attention_mask"].bool())


class GenerationBatches:
    """Batches of images with requests. Sample i asks for modality i % 3 of picture i // 3."""

    def __init__(self, backbone: LoadedBackbone, maps: Maps, batch: int, seed: int):
        self.backbone = backbone
        self.maps = maps
        self.prompts = [backbone.question_ids(REQUESTS[modality]) for modality in MODALITIES]
        self._samples = ShuffledIds(len(maps.pictures) * len(MODALITIES), batch, seed)

    def ids(self, step: int) -> np.ndarray:
        """Return the samples of the update `step`."""
        return self._samples.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Tensor]:
        """Return the model inputs and the true maps of the samples `ids`."""
        pictures, kinds = np.divmod(ids, len(MODALITIES))
        inputs = self.backbone.batch([self.prompts[k] for k in kinds], self.maps.pictures.images(pictures))
        maps = torch.empty(len(ids), 3, self.maps.size, self.maps.size)
        for kind, modality in enumerate(MODALITIES):
            rows = np.nonzero(kinds == kind)[0]
            if len(rows):
                maps[torch.from_numpy(rows)] = self.maps.target_maps(modality, pictures[rows])
        return inputs, maps


class GenerationFineTuning(FineTuning):
    """Fine-tuning of a VLM and a diffusion decoder.

    Raises UserError if the data lacks depth or segmentation, or if the decoder's settings do not fit it.
    """

    def __init__(self, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone):
        decoder = settings.decoder
        if decoder is None:
            raise UserError(f"auxiliary.tasks.{settings.task}.decoder: missing: write the decoder's settings")
        if settings.image_size % decoder.size:
            raise UserError(
                f"auxiliary.tasks.{settings.task}.decoder.size: {decoder.size} does not divide image_size "
                f"{settings.image_size}: write a divisor of image_size"
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
        if has_word_tokens(backbone):  # a real tokenizer can spell any word and needs no new ones
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
        """Generate maps (n, 3, S, S) in [-1, 1] of the held-out pictures `ids`.

        The initial noise of a picture is the same at every call.
        """
        self.decoder.eval()
        prompt = self.backbone.question_ids(REQUESTS[modality])
        device = self.decoder.places.device
        maps = []
        for begin in range(0, len(ids), BATCH):
            part = ids[begin : begin + BATCH]
            noise = [self._noise(modality, int(number)) for number in part]
            inputs = self.backbone.batch([prompt] * len(part), self.held_out.pictures.images(part))
            inputs = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
            with torch.inference_mode():
                states = hidden_states(self.backbone, inputs).float()  # a real backbone may be in bfloat16
                real = inputs["attention_mask"].bool()
                maps.append(self.decoder.draw(torch.stack(noise).to(device), states, real).cpu())
        return torch.cat(maps)

    def _noise(self, modality: str, number: int) -> Tensor:
        side = self.held_out.size
        random = np.random.default_rng([self.settings.seed, MODALITIES.index(modality), number])
        return torch.from_numpy(random.standard_normal((3, side, side), dtype=np.float32))

    def score(self) -> dict[str, Any]:
        """Return the task's score and the score of each modality over the held-out pictures.

        The interval treats pictures as independent. Each picture is scored in all three modalities, so
        `questions` is three times the number of pictures.
        """
        ids = np.arange(min(max(self.settings.questions // len(MODALITIES), 1), len(self.held_out.pictures)))
        values = {modality: self._values(modality, ids) for modality in MODALITIES}
        whole = mean_score(np.mean(list(values.values()), axis=0), len(ids) * len(MODALITIES))
        return whole | {"modalities": {m: mean_score(v, len(ids)) for m, v in values.items()}}

    def _values(self, modality: str, ids: np.ndarray) -> np.ndarray:
        """Return (n,): 1 - (error of each picture) / (mean error of the baseline)."""
        drawn = self.generate(modality, ids)
        reference_ids = np.arange(min(REFERENCE, len(self.train.pictures)))
        if modality == SEGMENTATION:
            truth, classes = self.held_out.classes(ids), self.train.classes(reference_ids)
            counts = [(classes == number).sum(0) for number in range(len(self.train.colours))]
            guesses = (self.held_out.nearest_classes(drawn), np.argmax(counts, axis=0))
            errors = [guess != truth for guess in guesses]
        else:
            truth = self.held_out.target_maps(modality, ids)
            if modality == DEPTH:
                drawn = drawn.mean(1, keepdim=True)
            errors = [
                ((guess - truth) ** 2).mean(1).numpy()
                for guess in (drawn, self.train.target_maps(modality, reference_ids).mean(0))
            ]
        error, reference = (e.mean((1, 2)) for e in errors)
        return 1 - error / max(float(reference.mean()), 1e-9)

    def drawings(self) -> Any:
        """Return held-out scenes (true and generated maps), the names of the classes and the depth range."""
        ids = np.arange(min(SHOWN, len(self.held_out.pictures)))
        drawn = {modality: self.generate(modality, ids) for modality in MODALITIES}
        pictures = (
            ((drawn[IMAGE].permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        )
        metres = self.held_out.metres(drawn[DEPTH])
        classes = self.held_out.nearest_classes(drawn[SEGMENTATION])
        scenes = [
            (
                self.held_out.pictures.images([number])[0],
                pictures[row],
                self.held_out.dense.depth([number])[0],
                metres[row],
                self.held_out.dense.classes([number])[0],
                classes[row],
            )
            for row, number in enumerate(ids)
        ]
        dense = self.held_out.dense
        return scenes, list(dense.palette), dense.limits
