"""Image augmentation of VLA training on whole uint8 batches: random shift and colour jitter."""

from __future__ import annotations

import numpy as np
import torch


def random_shift(images: np.ndarray, pixels: int, random: np.random.Generator) -> np.ndarray:
    """Move each picture by up to `pixels` in both directions; the border repeats (DrQ, arXiv 2004.13649).

    (B, H, W, 3) uint8 to the same.
    """
    if not pixels:
        return images
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    shifted = np.empty_like(images)
    # Copying windows is ten times faster than one fancy index over the batch.
    for index, (row, column) in enumerate(random.integers(0, 2 * pixels + 1, size=(count, 2))):
        shifted[index] = padded[index, row : row + height, column : column + width]
    return shifted


def colour_jitter(images: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """Scale brightness, contrast and each colour channel of each picture by factors in 1 ± `strength`.

    (B, H, W, 3) uint8 to the same. Channels move by half the strength, so that a red block does not turn
    orange. Contrast turns around the picture's mean. All of it is one affine map per channel.
    """
    if not strength:
        return images
    count, height, width, _ = images.shape
    brightness, contrast = random.uniform(1 - strength, 1 + strength, size=(2, count, 1)).astype(np.float32)
    channels = random.uniform(1 - strength / 2, 1 + strength / 2, size=(count, 3)).astype(np.float32)
    rows = torch.from_numpy(images).reshape(count, height, width * 3).float()
    gain = brightness * channels  # (B, 3)
    middle = rows.mean((1, 2))[:, None].numpy() * brightness  # (B, 1)
    # Factors are repeated along a row, so that the inner axis is long.
    scale = torch.from_numpy(np.tile(contrast * gain, (1, width)))[:, None]  # (B, 1, W * 3)
    rows.mul_(scale).add_(torch.from_numpy((1 - contrast) * middle)[:, None])
    return rows.round_().clamp_(0, 255).numpy().astype(np.uint8).reshape(images.shape)
