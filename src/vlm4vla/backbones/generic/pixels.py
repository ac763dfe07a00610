"""What a processor makes of an image's pixels, found out by asking it, and then computed for whole batches.

For images of the backbone's size, most processors only put the pixels into another order and scale them.
Which pixel each number of the model's inputs comes from is found with images whose values count the pixels.
A processor that does anything else, such as resizing, runs for each image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

BYTE = 256
EXACT = 1e-5  # largest difference from the processor, in numbers with a standard deviation of about 1

Ask = Callable[[np.ndarray], dict[str, Any]]


@dataclass(frozen=True)
class Pixels:
    """One input of the model: the part of one image has the shape `shape`, and images follow each other.

    `source`: for each number, the index of its pixel in an image (H, W, 3). It is `scale` times the pixel
    plus `offset`. Without them, all images have the numbers `offset`.
    """

    shape: tuple[int, ...]
    offset: Tensor
    source: Tensor | None = None
    scale: Tensor | None = None

    def of(self, images: Tensor) -> Tensor:
        """The input for images (B, H * W * 3) uint8."""
        if self.source is None or self.scale is None:
            rows = self.offset.expand(len(images), *self.offset.shape)
        else:
            rows = torch.addcmul(self.offset, images[:, self.source].to(self.offset.dtype), self.scale)
        return rows.reshape(len(images) * self.shape[0], *self.shape[1:])


class PixelMap:
    """The vision inputs of images of one size."""

    def __init__(self, size: int, inputs: dict[str, Pixels]):
        self.size = size
        self.inputs = inputs

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The vision inputs for images (B, H, W, 3) uint8."""
        flat = images.reshape(len(images), -1)
        return {name: pixels.of(flat) for name, pixels in self.inputs.items()}


def find_pixel_map(ask: Ask, size: int) -> PixelMap | None:
    """The map of images of `size` pixels a side, or None if the processor does more than to scale pixels.

    `ask`: the vision inputs for images (B, size, size, 3) uint8.
    """
    count = size * size * 3
    numbers = np.arange(count).reshape(1, size, size, 3)
    digits = [(numbers // BYTE**digit % BYTE).astype(np.uint8) for digit in range(_digits(count))]
    rng = np.random.default_rng(0)
    random = rng.integers(0, BYTE, (3, size, size, 3), dtype=np.uint8)
    dark, bright = (np.full((1, size, size, 3), value, dtype=np.uint8) for value in (0, BYTE - 1))
    answers = [ask(image) for image in (dark, bright, *digits)]
    if not all(isinstance(value, Tensor) and value.ndim for each in answers for value in each.values()):
        return None
    if any(value.shape != answers[0][name].shape for each in answers for name, value in each.items()):
        return None
    found = PixelMap(size, {name: _pixels([each[name] for each in answers]) for name in answers[0]})
    expected, ours = ask(random), found(torch.from_numpy(random))
    same = all(
        expected[name].shape == ours[name].shape
        and expected[name].dtype == ours[name].dtype
        and torch.allclose(expected[name].double(), ours[name].double(), rtol=0, atol=EXACT)
        for name in expected
    )
    return found if same else None


def _digits(count: int) -> int:
    return next(digits for digits in range(1, 9) if BYTE**digits >= count)


def _pixels(answers: list[Tensor]) -> Pixels:
    """The map of one input from its values for a dark and a bright image and for the digits of the pixels."""
    dark, bright, *digits = (each.reshape(-1) for each in answers)
    shape = tuple(answers[0].shape)
    if not dark.is_floating_point():
        return Pixels(shape, answers[0])
    scale = (bright.double() - dark.double()) / (BYTE - 1)
    varies = scale != 0
    if not varies.any():
        return Pixels(shape, answers[0])
    source = torch.zeros(len(dark), dtype=torch.int64)
    for place, digit in enumerate(digits):
        values = torch.where(varies, (digit.double() - dark.double()) / torch.where(varies, scale, 1), 0)
        source += values.round().clamp(0, BYTE - 1).long() * BYTE**place
    largest = BYTE ** len(digits) - 1
    return Pixels(shape, dark, source.clamp(max=largest), scale.to(dark.dtype))
