"""Random changes of one picture of a data set, for worker processes: NumPy only, no torch.

CALVIN's pictures are shifted by up to 10 pixels of 224; Bridge's and LIBERO's show a random window of 0.9 of
their area, with brightness, contrast, saturation and hue changed, in this order (the study's released code).
"""

from __future__ import annotations

import numpy as np

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.data.pictures.resizing import resize


def augmented(
    picture: np.ndarray,
    side: int,
    shift: int,
    settings: Augmentation | None,
    random: np.random.Generator,
) -> np.ndarray:
    """A picture (H, W, 3) uint8, resized to (`side`, `side`, 3) and changed at random.

    `shift`: largest move in pixels of the resized picture, both ways; the border repeats.
    """
    settings = settings or Augmentation()
    sized = resize(picture, side, _window(picture.shape, settings.crop, random))
    sized = shifted(sized, *random.integers(-shift, shift + 1, size=2)) if shift else sized
    brightness, contrast, saturation, hue = (
        float(random.uniform(-most, most)) if most else 0.0
        for most in (settings.brightness, settings.contrast, settings.saturation, settings.hue)
    )
    if not (brightness or contrast or saturation or hue):
        return sized
    values = np.clip(sized.astype(np.float32) / 255 + np.float32(brightness), 0, 1)
    if contrast:
        mean = values.mean((0, 1))
        values = np.clip(mean + (values - mean) * np.float32(1 + contrast), 0, 1)
    if saturation or hue:
        values = recoloured(values, 1 + saturation, hue)
    return np.rint(values * 255).astype(np.uint8)


def shifted(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    """The picture (H, W, 3) moved by whole pixels; its border repeats (DrQ, arXiv 2004.13649)."""
    height, width = picture.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return picture[rows][:, columns]


def recoloured(values: np.ndarray, saturation: float, turn: float) -> np.ndarray:
    """Colours (H, W, 3) in [0, 1] with their saturation in HSV times a factor, and their hue turned.

    `turn`: 1 is the whole circle. Value stays as it is.
    """
    most = values.max(-1, keepdims=True)  # HSV's value
    spread = most - values.min(-1, keepdims=True)
    if saturation != 1:
        largest = np.divide(most, spread, out=np.full_like(most, np.inf), where=spread > 0)
        values = most - (most - values) * np.minimum(np.float32(saturation), largest)
        spread = most - values.min(-1, keepdims=True)
    if not turn:
        return values
    red, green, blue = np.moveaxis(values, -1, 0)
    top, wide = most[..., 0], spread[..., 0]
    safe = np.where(wide > 0, wide, 1)
    sextant = np.where(
        top == red,
        (green - blue) / safe,
        np.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = sextant + np.float32(6 * turn)
    offsets = np.array([5, 3, 1], dtype=np.float32)  # of red, green, blue
    place = (sextant[..., None] + offsets) % 6
    away = np.clip(np.minimum(place, 4 - place), 0, 1)
    return (top[..., None] - wide[..., None] * away).astype(np.float32)


def _window(
    shape: tuple[int, ...], share: float, random: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """A window of `share` of the area and of the picture's shape, at a random place; None for all of it."""
    if share == 1:
        return None
    height, width = shape[:2]
    tall, wide = height * share**0.5, width * share**0.5
    top, left = random.uniform(0, height - tall), random.uniform(0, width - wide)
    return left, top, left + wide, top + tall
