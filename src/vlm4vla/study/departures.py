"""The settings in which a study differs from the files of its scale (paper or released).

The tables of such a study show published numbers next to its own, so their captions list the differences.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.config.layers import read_layers
from vlm4vla.conventions.scales import BASE, LAYERS, REAL

LISTED = 20
NOT_SET = "not set"
# Keys that are not compared: where and how a run is computed, what it keeps, and what only other tables read.
IGNORED = {"execution", "runs", "policies", "checkpoint_every", "log_every", "videos", "executed"}


def departures(
    config: Config, models: Collection[str], benchmarks: Collection[str], *, auxiliary: bool
) -> list[str]:
    """Each differing setting, such as `vla.steps 400 (50000)`, with the value of the scale in brackets.

    Only the settings of these `models` (backbones and expert VLAs) and `benchmarks` count, and with
    `auxiliary` the settings of auxiliary tasks. A study at another scale has no departures.
    """
    if config.scale not in REAL:
        return []
    missing = [path for path in LAYERS[config.scale] if not path.is_file()]
    if missing:
        return [f"no {missing[0]} to compare with"]
    experts = [name for name in models if name in config.experts]
    backbones = [name for name in models if name in config.backbones]
    backbones += [config.experts[name].backbone for name in experts]
    relevant = {"backbones": dict.fromkeys(backbones), "experts": experts, "benchmarks": benchmarks}
    parts = ["image_size", "head", "vla", "variants", *relevant, *(["auxiliary"] if auxiliary else [])]
    study, paper = config.model_dump(mode="json"), _settings_of(config.scale)
    found = []
    for part in parts:
        sides = [side[part] for side in (study, paper)]
        if part in relevant:
            sides = [{name: side[name] for name in relevant[part] if name in side} for side in sides]
        found += [f"{path} {_short(own)} ({_short(other)})" for path, own, other in differences(part, *sides)]
    more = len(found) - LISTED
    return found if more <= 0 else [*found[:LISTED], f"{more} more in the study's config.yaml"]


@cache
def _settings_of(scale: str) -> dict[str, Any]:
    return read_layers([BASE, *LAYERS[scale]]).model_dump(mode="json")


def differences(path: str, own: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """(path of the key, value in `own`, value in `other`) of each difference under `path`."""
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*own, *other]):
            if key not in IGNORED:
                yield from differences(f"{path}.{key}", own.get(key), other.get(key))
    elif own != other:
        yield path, own, other


def _short(value: Any) -> str:
    if value is None:
        return NOT_SET
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
