"""Which settings of a study at the paper's scale are not those of workflow/scales/paper.yaml.

Its tables stand beside published numbers: a caption must say what differs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.config.layers import read_layers

BASE, PAPER = Path("config.yaml"), Path("workflow/scales/paper.yaml")
LISTED = 20
NOT_SET = "not set"
# Where and how a run is computed, what it keeps, and what only other tables read.
ASIDE = {"execution", "runs", "policies", "checkpoint_every", "log_every", "videos", "executed"}


def departures(
    config: Config, models: Collection[str], benchmarks: Collection[str], *, auxiliary: bool
) -> list[str]:
    """`vla.steps 400 (50000)`: each setting that bears on these models (backbones and expert VLAs) and
    benchmarks (and on auxiliary tasks), with the paper scale's value in brackets; none at another scale."""
    if config.scale != "paper":
        return []
    if not PAPER.is_file():
        return [f"no {PAPER} to compare with"]
    experts = [name for name in models if name in config.experts]
    backbones = [name for name in models if name in config.backbones]
    backbones += [config.experts[name].backbone for name in experts]
    kept = {"backbones": dict.fromkeys(backbones), "experts": experts, "benchmarks": benchmarks}
    parts = ["image_size", "head", "vla", "variants", *kept, *(["auxiliary"] if auxiliary else [])]
    own, paper = config.model_dump(mode="json"), _paper()
    found = []
    for part in parts:
        sides = [side[part] for side in (own, paper)]
        if part in kept:
            sides = [{name: side[name] for name in kept[part] if name in side} for side in sides]
        found += [f"{path} {_short(ours)} ({_short(theirs)})" for path, ours, theirs in _apart(part, *sides)]
    more = len(found) - LISTED
    return found if more <= 0 else [*found[:LISTED], f"{more} more in the study's config.yaml"]


@cache
def _paper() -> dict[str, Any]:
    return read_layers([BASE, PAPER]).model_dump(mode="json")


def _apart(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in dict.fromkeys([*ours, *theirs]):
            if key not in ASIDE:
                yield from _apart(f"{path}.{key}", ours.get(key), theirs.get(key))
    elif ours != theirs:
        yield path, ours, theirs


def _short(value: Any) -> str:
    if value is None:
        return NOT_SET
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
