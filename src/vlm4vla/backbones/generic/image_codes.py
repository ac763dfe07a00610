"""Models that turn images into codes, such as Chameleon and Emu3.

Their vision encoder gives the number of the nearest vector of a codebook for each part of an image, and the
language model reads the word of that number. The choice of a number has no gradient, so training never
changes the vision encoder. The words of the numbers are trained.
"""

from __future__ import annotations

from typing import Any


def has_image_codes(config: Any) -> bool:
    """Whether the model of `config` reads images as codes.

    Some models (Janus) have a codebook for the images that they make, and a vision encoder for those that
    they read.
    """
    return hasattr(config, "vq_config") and not hasattr(config, "vision_config")
