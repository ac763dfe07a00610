"""Bounds of the image size in the image processor of an installed checkpoint.

Everything that reads images loads the folder: policy training, auxiliary fine-tuning, question scores and the
policy server. A saved policy or fine-tuned backbone keeps the image processor. So the bounds are written into
the folder once, when the checkpoint is installed.

Not obvious:
- transformers stores the bounds as `size.shortest_edge` and `size.longest_edge`, and older versions as
  `min_pixels` and `max_pixels`. The older names have priority if a file has both.
- An installed file can be a hard link into the Hugging Face cache. So it is replaced, never changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlm4vla.config.backbones import PixelBounds
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError

# The files that may hold an image processor, and the key under which the second one holds it.
FILES = {"preprocessor_config.json": None, "processor_config.json": "image_processor"}
NAMES = (("shortest_edge", "min_pixels"), ("longest_edge", "max_pixels"))


def write_pixel_bounds(folder: Path, bounds: PixelBounds, key: str) -> None:
    """Write `bounds` into the image processor's config in `folder`.

    `key`: the key of config.yaml that holds them. Raises UserError if the folder has no config of an image
    processor, or if its own upper bound is below `bounds.min`.
    """
    found = False
    for name, part in FILES.items():
        path = folder / name
        record = json.loads(path.read_text()) if path.is_file() else {}
        processor = record.get(part) if part else record
        if processor:
            _change(processor, bounds, f"{key}.pixels", path)
            write_json(path, record)
            found = True
    if not found:
        raise UserError(
            f"{key}.pixels: {folder} has no {next(iter(FILES))}: use a complete copy of the checkpoint"
        )


def _change(processor: dict[str, Any], bounds: PixelBounds, key: str, path: Path) -> None:
    size = processor["size"] if isinstance(processor.get("size"), dict) else {}
    largest = bounds.max or processor.get("max_pixels") or size.get("longest_edge")
    if largest is not None and largest < bounds.min:
        raise UserError(
            f"{key}.min: {bounds.min} pixels, but {path} allows at most {largest}: write `max` too, with at "
            f"least {bounds.min}"
        )
    for (edge, old), value in zip(NAMES, (bounds.min, largest), strict=True):
        if value is not None:
            size[edge] = value
            if old in processor:
                processor[old] = value
    processor["size"] = size
