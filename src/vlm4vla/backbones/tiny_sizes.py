"""The image sizes and widths that a tiny backbone can have, without torch: a run checks them first."""

from __future__ import annotations

from math import isqrt

from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

PATCH = 16  # side of a tiny backbone's patch in pixels; a 64x64 image gives 16 image tokens
TINY_POSITIONS = 512  # the longest sequence of a tiny backbone, in tokens
PROMPT_TOKENS = 64  # left of TINY_POSITIONS for the text and the action query


def check_tiny(size: TinySize, name: str, image_size: int) -> None:
    """Raise UserError if the tiny backbone `name` cannot have these widths, or this `image_size` (pixels)."""
    largest = PATCH * isqrt(TINY_POSITIONS - PROMPT_TOKENS)
    if image_size % PATCH or not 2 * PATCH <= image_size <= largest:
        raise UserError(
            f"config.yaml: image_size: {image_size} must be a multiple of {PATCH} from {2 * PATCH} to "
            f"{largest} for the tiny backbone {name!r}: write 64"
        )
    for width, heads in (("hidden", "heads"), ("vision_hidden", "vision_heads")):
        factor = 8 * getattr(size, heads)
        if getattr(size, width) % factor:
            raise UserError(
                f"config.yaml: backbones.{name}.tiny.{width}: {getattr(size, width)} must be a multiple of 8 "
                f"times {heads} ({getattr(size, heads)}), because rotary positions need that: write {factor} "
                "or a multiple of it"
            )
