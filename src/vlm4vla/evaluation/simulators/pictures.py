"""Camera pictures as policies see them."""

from __future__ import annotations

import numpy as np

from vlm4vla.data.pictures.resizing import resize


def upright(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) that robosuite drew, turned by 180 degrees: its rows and columns run backwards."""
    return np.ascontiguousarray(picture[::-1, ::-1])


def fitted(picture: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) uint8 of a picture (H, W, 3) uint8, resized as in training.

    Raises ValueError for other shapes and types.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"a picture is (H, W, 3) uint8, the simulator gave {picture.shape} {picture.dtype}")
    return resize(picture, size)
