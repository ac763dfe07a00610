"""A bound on the tokens of an image, for checkpoints whose processor cuts images into tiles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm4vla.backbones.generic.layout import find_layout
from vlm4vla.backbones.generic.processor import load_processor
from vlm4vla.backbones.pixel_bounds import FILES
from vlm4vla.core.artefacts import write_json, write_text
from vlm4vla.core.errors import UserError

# Settings of image processors that cut an image into tiles, and the value with which they leave it whole.
WHOLE: dict[str, Any] = {
    "do_image_splitting": False,
    "crop_to_patches": False,
    "do_pan_and_scan": False,
    "resize_to_max_canvas": False,
    "max_patches": 1,
    "max_image_tiles": 1,
    "max_slice_nums": 1,
    "max_crops": 1,
}
PINPOINTS, SIZE, SOFT_TOKENS = "image_grid_pinpoints", "size", "max_soft_tokens"
SHORTEST, LONGEST = "shortest_edge", "longest_edge"
SOFT_TOKEN_NUMBERS = (1120, 560, 280, 140, 70)  # that Gemma 4's processor accepts
CONFIG = "config.json"
AREA = 2000  # an edge above it is a number of pixels, not a side
STEPS = 24  # halvings of an area


def bound_image_tokens(folder: Path, bound: int, image_size: int, key: str) -> int:
    """Change the settings of the image processor in `folder` so that an image has at most `bound` tokens.

    First, images are not cut into tiles any more. Then their area becomes smaller, where the processor has
    one. Returns the number of tokens of an image of `image_size` pixels a side. `key`: the key of config.yaml
    that holds the bound. Raises UserError if no setting is known that keeps the bound; the folder is then as
    it was.
    """
    files = (folder / name for name in (*FILES, CONFIG))
    before = {path: path.read_text() for path in files if path.is_file()}
    tokens = _tokens(folder, image_size)
    if tokens <= bound:
        return tokens
    first = tokens
    for changes in _settings(folder, bound):
        _write(folder, changes)
        tokens = _tokens(folder, image_size)
        if tokens <= bound:
            return tokens
    for path, text in before.items():
        if path.read_text() != text:
            write_text(path, text)
    raise UserError(
        f"{key}: {bound} tokens, but the processor makes {first} of an image of {image_size} x {image_size} "
        f"pixels, and {tokens} with its smallest settings that are known: write at least {tokens}"
    )


def _tokens(folder: Path, image_size: int) -> int:
    return find_layout(load_processor(folder), image_size, str(folder)).count


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Each file with settings of an image processor: its path, its content, and the settings in it."""
    for name, part in FILES.items():
        path = folder / name
        record = json.loads(path.read_text()) if path.is_file() else {}
        settings = record.get(part) if part else record
        if settings:
            yield path, record, settings


def _write(folder: Path, changes: dict[str, Any]) -> None:
    for path, record, settings in _records(folder):
        settings.update(changes)
        write_json(path, record)
    config = json.loads((folder / CONFIG).read_text())
    if PINPOINTS in changes and PINPOINTS in config:  # the model joins the tiles by the same list
        write_json(folder / CONFIG, config | {PINPOINTS: changes[PINPOINTS]})


def _settings(folder: Path, bound: int) -> Iterator[dict[str, Any]]:
    """Settings to try in their order."""
    processor = load_processor(folder).image_processor
    whole = {name: value for name, value in WHOLE.items() if hasattr(processor, name)}
    if getattr(processor, PINPOINTS, None):
        tile = dict(processor.size)
        side = next(value for value in (tile.get("height"), tile.get(SHORTEST), *tile.values()) if value)
        whole[PINPOINTS] = [[side, side]]
    if whole:
        yield whole
    if hasattr(processor, SOFT_TOKENS):
        fitting = (each for each in SOFT_TOKEN_NUMBERS if each <= bound)
        yield {SOFT_TOKENS: next(fitting, SOFT_TOKEN_NUMBERS[-1])}
    size = getattr(processor, SIZE, None)
    edges = {name: value for name, value in dict(size or {}).items() if value and value > AREA}
    if edges and set(edges) <= {SHORTEST, LONGEST}:
        area = max(edges.values())
        for _ in range(STEPS):
            area //= 2
            yield {SIZE: {SHORTEST: min(area, edges.get(SHORTEST, area)), LONGEST: area}}
