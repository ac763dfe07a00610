"""Vision-language backbones: one adapter file a transformers family, behind one interface. A family may also
come from a file of the user's own (vlm4vla.extensions).

Importing this package is cheap; torch and transformers are loaded by `build` and `load`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.config.backbones import Backbone


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
