"""The one way in which pictures are resized, in training and in rollouts."""

from __future__ import annotations

import numpy as np


def resize(
    picture: np.ndarray, side: int, window: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """A picture (H, W, 3) uint8 as (`side`, `side`, 3): bicubic, smoothed where it shrinks, never cropped.

    `window`: left, top, right, bottom in pixels, all that is shown.
    """
    if window is None and picture.shape[:2] == (side, side):
        return picture
    from PIL import Image

    sized = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC, box=window)
    return np.asarray(sized)
