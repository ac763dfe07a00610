"""The image sizes and widths that a tiny backbone can have, without torch: a run checks them first."""

from __future__ import annotations

from math import isqrt

from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

PATCH = 16  # side of a tiny backbone's patch in pixels; a 64x64 image gives 16 image tokens
TINY_POSITIONS = 512  # the longest sequence of a tiny backbone, in tokens
PROMPT_TOKENS = 64  # left of TINY_POSITIONS for the text and the action query


# Kosmos-2 reserves this many words for image tokens. Of more image tokens, some would be other words.
KOSMOS_IMAGE_WORDS = 64
MOST_WEIGHTS = 10**9  # of a tiny backbone, which a CPU trains


def check_tiny(size: TinySize, name: str, image_size: int, family: str) -> None:
    """Raise UserError if the tiny backbone `name` cannot have these sizes, or this `image_size` (pixels)."""
    tokens = KOSMOS_IMAGE_WORDS if family == "kosmos-2" else TINY_POSITIONS - PROMPT_TOKENS
    largest = PATCH * isqrt(tokens)
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
    if family == "qwen3_vl_moe" and not size.experts_per_token:
        raise UserError(
            f"config.yaml: backbones.{name}.tiny.experts_per_token: {size.experts_per_token} of "
            f"{size.experts} experts: the family {family} needs `experts` of at least 1, and "
            "`experts_per_token` from 1 to `experts`"
        )
    if _weights(size) > MOST_WEIGHTS:
        raise UserError(
            f"config.yaml: backbones.{name}.tiny: has about {_weights(size):.1g} weights, and a tiny "
            f"backbone has at most {MOST_WEIGHTS:.0e}: write smaller sizes"
        )


def _weights(size: TinySize) -> int:
    """About the number of weights in the layers of a tiny backbone."""
    text = 4 * size.hidden**2 + 3 * size.hidden * size.intermediate * max(1, size.experts)
    vision = 4 * size.vision_hidden**2 + 2 * size.vision_hidden * size.vision_intermediate
    return size.layers * text + size.vision_layers * vision
