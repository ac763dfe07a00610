"""Vision-language backbones behind one interface, with one adapter file for each transformers family.

Users can add families in their own files (vlm4vla.extensions). Importing this package is cheap: only `build`
and `load` import torch and transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

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


def load(
    folder: Path | str, *, image_size: int | None = None, dtype: Literal["float32", "stored"] = "float32"
) -> LoadedBackbone:
    """Load a tiny or real backbone from a Hugging Face folder.

    `image_size`: the side of the square images in pixels; by default the size in the folder's config.
    `dtype`: the type of the weights in memory. `stored` is bfloat16 for a folder of bfloat16 weights, and
    float32 for any other folder. Raises UserError if a file is missing or damaged, if the weights are
    quantised, or if the family is unknown.
    """
    from vlm4vla.backbones.checkpoint import load_folder
    from vlm4vla.backbones.weights import stored_dtype

    folder = Path(folder)
    return load_folder(
        folder, image_size=image_size, dtype="float32" if dtype == "float32" else stored_dtype(folder)
    )
