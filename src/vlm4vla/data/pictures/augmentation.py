"""Random augmentation of single images in worker processes: NumPy and Pillow only, no torch.

CALVIN's images are shifted by up to 10 of 224 pixels. For Bridge and LIBERO, a random window with 0.9 of the
image's area is shown, and brightness, contrast, saturation and hue are changed, in this order. Both follow
the released code of the VLM4VLA study.
"""

from __future__ import annotations

import numpy as np

from vlm4vla.config.benchmarks import Augmentation, Shift
from vlm4vla.data.pictures.files import resize


def augmented(
    picture: np.ndarray,
    side: int,
    shift: Shift,
    settings: Augmentation | None,
    random: np.random.Generator,
) -> np.ndarray:
    """Resize an image (H, W, 3) uint8 to (`side`, `side`, 3) uint8 and change it at random.

    `shift`: the largest move in each direction, or the lowest and the highest move (down and to the right),
    in pixels of the resized image. Pixels of the border are repeated to fill the gap. `settings`: None
    changes nothing else.
    """
    settings = settings or Augmentation()
    sized = resize(picture, side, _random_window(picture.shape, settings.crop, random))
    up, down = shift if isinstance(shift, tuple) else (-shift, shift)
    sized = shifted(sized, *random.integers(up, down + 1, size=2)) if up or down else sized
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


def centre_cropped(pictures: np.ndarray, area: float) -> np.ndarray:
    """Cut out the centre of images (B, H, W, 3) uint8 and resize it to (H, W) by bicubic interpolation.

    `area`: the fraction of the image's area that is kept. The cut has the image's aspect ratio, so its sides
    are sqrt(`area`) times those of the image.
    """
    from PIL import Image

    height, width = pictures.shape[1:3]
    top, left = (side * (1 - area**0.5) / 2 for side in (height, width))
    box, size = (left, top, width - left, height - top), (width, height)
    cut = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC, box=box) for each in pictures]
    return np.stack([np.asarray(each) for each in cut])


def shifted(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move an image (H, W, 3) by whole pixels and repeat its border (DrQ, arXiv 2004.13649)."""
    height, width = picture.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return picture[rows][:, columns]


def recoloured(values: np.ndarray, saturation: float, turn: float) -> np.ndarray:
    """Multiply the HSV saturation of colours (H, W, 3) in [0, 1] by `saturation`, and turn their hue.

    `turn`: a fraction of the hue circle. The HSV value does not change.
    """
    most = values.max(-1, keepdims=True)  # the value of HSV
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
    offsets = np.array([5, 3, 1], dtype=np.float32)  # of red, green and blue
    position = (sextant[..., None] + offsets) % 6
    away = np.clip(np.minimum(position, 4 - position), 0, 1)
    return (top[..., None] - wide[..., None] * away).astype(np.float32)


def _random_window(
    shape: tuple[int, ...], share: float, random: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """Draw a window with `share` of the image's area and the image's aspect ratio, anywhere in the image.

    Returns left, top, right and bottom in pixels, or None for the whole image.
    """
    if share == 1:
        return None
    height, width = shape[:2]
    tall, wide = height * share**0.5, width * share**0.5
    top, left = random.uniform(0, height - tall), random.uniform(0, width - wide)
    return left, top, left + wide, top + tall
