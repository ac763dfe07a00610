"""Vision-language backbones behind one interface, with one adapter file for each transformers family.

Users can add families in their own files (vlm4vla.extensions). Importing this package is cheap: only `build`
and `load` import torch and transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.config.backbones import Backbone


def build(settings: Backbone, name: str, words: list[str], image_size: int, seed: int) -> LoadedBackbone:
    """Build a tiny backbone of `settings.family` with random weights; the same seed gives the same bytes.

    `words`: every word that questions, answers and instructions use. Raises UserError for an unknown family
    or for widths that are impossible for the family.
    """
    from vlm4vla.backbones.building import build_tiny

    return build_tiny(settings, name, words, image_size, seed)


def load(folder: Path | str, *, image_size: int | None = None) -> LoadedBackbone:
    """Load a tiny or real backbone from a Hugging Face folder.

    `image_size`: the side of the square images in pixels; by default the size in the folder's config. Raises
    UserError if weights are missing or truncated, or if the family is unknown.
    """
    from vlm4vla.backbones.checkpoint import load_folder

    return load_folder(Path(folder), image_size=image_size)
