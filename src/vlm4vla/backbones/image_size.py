"""The image size, in pixels, that a model's own image processor produces from a square image."""

from __future__ import annotations

import math
from collections.abc import Mapping

STUDY_IMAGE_SIZE = 224  # pixels; the study resizes images to it before each backbone's own processor


def processed_side(size: Mapping[str, int], factor: int, side: int = STUDY_IMAGE_SIZE) -> int:
    """The side, in pixels, of an image of `side` x `side` pixels after the image processor.

    `size` is the `size` entry of the processor's config. A processor with a fixed output size has `height`
    and an equal `width`. Qwen's processor has the minimum and maximum number of pixels of an image, called
    `shortest_edge` and `longest_edge`, and makes each side a multiple of `factor` (patch size times merge
    size). The released Qwen3-VL, for example, enlarges 224 pixels to 256, because its minimum is 65536
    pixels. With the study's minimum of 200704 pixels, every Qwen-VL enlarges them to 448.
    """
    if size.get("height"):
        return int(size["height"])
    least, most = size["shortest_edge"], size["longest_edge"]
    rounded = round(side / factor) * factor
    # The same expressions as in the processor, so that rounding errors are the same.
    if rounded**2 > most:
        return max(factor, math.floor(side / math.sqrt(side**2 / most) / factor) * factor)
    if rounded**2 < least:
        return math.ceil(side * math.sqrt(least / side**2) / factor) * factor
    return rounded
