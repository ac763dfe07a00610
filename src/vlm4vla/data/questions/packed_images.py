"""The images of a generated question set: PNGs, or the pixels that an earlier version wrote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.png import SIGNATURE, decode
from vlm4vla.data.questions.dataset import ImageRows, gather_rows, pixels


class StoredPixels:
    """Images as rows of pixels in memory-mapped files. `chunks`: (n, H * W * 3) uint8 each."""

    def __init__(self, chunks: list[np.ndarray]):
        self._chunks = chunks

    def rows(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        return gather_rows(self._chunks, ids)


class PackedImages:
    """Images as PNGs in a binary column. Each image is decoded when it is first needed, and then kept.

    Memory for the pixels is only taken where an image was decoded. `folder` names the set in messages.
    """

    def __init__(self, column: pa.ChunkedArray, side: int, folder: Path):
        self._column, self._side, self._folder = column, side, folder
        self._pixels = np.empty((len(column), side * side * 3), dtype=np.uint8)
        self._decoded = np.zeros(len(column), dtype=bool)

    def rows(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Raises UserError with the number of an image that cannot be decoded or has another size."""
        ids = np.asarray(ids, dtype=np.int64)
        for number in np.unique(ids[~self._decoded[ids]]):
            image = _decoded(self._column[int(number)].as_py(), self._folder, int(number))
            if image.shape != (self._side, self._side, 3):
                raise UserError(
                    f"{self._folder}: image {number} has {image.shape[1]} x {image.shape[0]} pixels, and the "
                    f"first has {self._side} x {self._side}: generate the questions again"
                )
            self._pixels[number] = image.reshape(-1)
            self._decoded[number] = True  # after the pixels, because several threads may read
        return self._pixels[ids]


def read_images(column: pa.ChunkedArray, folder: Path) -> tuple[ImageRows, int]:
    """The images of the column `image`, which has rows, and their height and width in pixels.

    Raises UserError if the images are not squares of one size. Of PNGs, only the first is decoded.
    """
    first = column[0].as_py()
    if first[: len(SIGNATURE)] == SIGNATURE:
        height, width, _ = _decoded(first, folder, 0).shape
        if height != width:
            raise UserError(f"{folder}: the images are not squares: generate the questions again")
        return PackedImages(column, height, folder), height
    chunks = pixels(column)
    sizes = {chunk.shape[1] for chunk in chunks}
    side = math.isqrt(sizes.pop() // 3)
    if sizes or side * side * 3 != chunks[0].shape[1]:
        raise UserError(f"{folder}: the images are not all squares of one size: generate the questions again")
    return StoredPixels(chunks), side


def _decoded(data: bytes, folder: Path, number: int) -> np.ndarray:
    try:
        return decode(data)
    except OSError as error:
        raise UserError(f"{folder}: image {number} cannot be read: {error}") from None
