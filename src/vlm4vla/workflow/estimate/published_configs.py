"""Configurations of the released models, as far as they decide sizes: facts, kept in `published/`.

One JSON file a model: its hub name, the backbone of the study that it is, where the numbers are from, the
number of parameters where the hub states it, the size its image processor makes pictures, and the fields of
its config.json. No weight, no tokenizer, no network.
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
    """`config`: what transformers' config of its `model_type` takes; `parameters`: as the hub counts them."""

    hub: str
    study: str  # name of the backbone in config.yaml
    source: str
    processor: dict[str, int]
    config: dict[str, Any]
    parameters: int | None = None


@cache
def published_configs() -> dict[str, PublishedConfig]:
    """Every model, by hub name."""
    found = [PublishedConfig(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]
    return {each.hub: each for each in found}
