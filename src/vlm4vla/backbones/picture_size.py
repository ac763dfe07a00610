"""How many pixels a side a model's own image processor makes of a square picture."""

from __future__ import annotations

import math
from collections.abc import Mapping

STUDY_IMAGE_SIZE = 224  # pixels; the study resizes to it before every backbone's own processor


def processed_side(size: Mapping[str, int], factor: int, side: int = STUDY_IMAGE_SIZE) -> int:
    """Side in pixels after the processor whose config says `size`, for a picture of `side` x `side`.

    A fixed processor says `height` (and an equal `width`). Qwen's says the least and the most pixels of a
    picture, `shortest_edge` and `longest_edge`, and makes its sides multiples of `factor` (patch size times
    merge size): Qwen3-VL enlarges 224 pixels to 256, since 65536 is its least.
    """
    if size.get("height"):
        return int(size["height"])
    least, most = size["shortest_edge"], size["longest_edge"]
    rounded = round(side / factor) * factor
    if rounded**2 > most:
        return max(factor, math.floor(math.sqrt(most) / factor) * factor)
    if rounded**2 < least:
        # written as the processor writes it, so that rounding falls on the same side
        return math.ceil(side * math.sqrt(least / side**2) / factor) * factor
    return rounded
