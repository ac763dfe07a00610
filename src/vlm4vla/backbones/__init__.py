"""Vision-language backbones: one adapter file a transformers family, behind one interface. A family may also
come from a file of the user's own (vlm4vla.extensions).

Importing this package is cheap; torch and transformers are loaded by `build` and `load`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla import extensions

if TYPE_CHECKING:
    from vlm4vla.backbone_settings import Backbone
    from vlm4vla.backbones.loaded import LoadedBackbone

# What config.yaml may write as `family`, and the adapter that serves it. A name is the transformers
# `model_type`, except that PaliGemma 2 shares PaliGemma's and differs in its text model only.
FAMILIES: dict[str, str] = {
    "qwen2_5_vl": "vlm4vla.backbones.qwen2_5_vl:Qwen25VL",
    "qwen3_vl": "vlm4vla.backbones.qwen3_vl:Qwen3VL",
    "qwen3_vl_moe": "vlm4vla.backbones.qwen3_vl_moe:Qwen3VLMoe",
    "paligemma": "vlm4vla.backbones.paligemma:PaliGemma",
    "paligemma2": "vlm4vla.backbones.paligemma:PaliGemma2",
    "kosmos-2": "vlm4vla.backbones.kosmos2:Kosmos2",
    "internvl": "vlm4vla.backbones.internvl:InternVL",
}
# Families whose text model no expert head can read: it has no rotary positions and another call.
NOT_READ = ("kosmos-2",)


def families() -> list[str]:
    """What `family` may be: the built-in ones, then those of the user's own."""
    return [*FAMILIES, *extensions.names("family")]


def is_read(family: str) -> bool:
    """Whether expert heads can read the family's language model."""
    own = extensions.find("family", family) if family not in FAMILIES else None
    return family not in NOT_READ if own is None else own.is_read


def build(settings: Backbone, name: str, words: list[str], image_size: int, seed: int) -> LoadedBackbone:
    """A tiny backbone of `settings.family` with random weights: same seed, same bytes.

    `words`: every word that questions, answers and instructions use. Raises UserError for an unknown family
    or for widths that the family cannot have.
    """
    from vlm4vla.backbones.building import build_tiny

    return build_tiny(settings, name, words, image_size, seed)


def load(folder: Path | str, *, image_size: int | None = None) -> LoadedBackbone:
    """A backbone from a Hugging Face folder, tiny or real.

    `image_size`: side of the square pictures in pixels; by default what the folder's config says. Raises
    UserError when weights are missing, cut short or of an unknown family.
    """
    from vlm4vla.backbones.checkpoint import load_folder

    return load_folder(Path(folder), image_size=image_size)
