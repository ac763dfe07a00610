"""The parts of the released models' configurations that determine their sizes, stored in `published/`.

Each model has one JSON file with its hub name, its name in the study, the source of the numbers, the number
of parameters if the hub states it, the image size of its image processor, and the fields of its config.json.
No weights, tokenizer or network are needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("published")


@dataclass(frozen=True)
class PublishedConfig:
    """`config`: the fields of transformers' config. `parameters`: the number that the hub states."""

    hub: str
    study: str  # the name of the backbone in config.yaml
    source: str
    processor: dict[str, int]
    config: dict[str, Any]
    parameters: int | None = None


@cache
def published_configs() -> dict[str, PublishedConfig]:
    """All models by hub name."""
    found = [PublishedConfig(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]
    return {each.hub: each for each in found}
