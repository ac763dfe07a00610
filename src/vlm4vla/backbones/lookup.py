"""From a family's name, or a loaded config, to its adapter."""

from __future__ import annotations

import importlib

from transformers import PreTrainedConfig

from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.known_families import families
from vlm4vla.core import registry
from vlm4vla.core.errors import UserError, nearest
from vlm4vla.core.registry import FAMILIES


def adapter_class(family: str) -> type[Adapter]:
    """The adapter of a family that config.yaml names; UserError when there is none."""
    if family not in FAMILIES:
        own = registry.find("family", family)
        if own is None:
            raise UserError(f"backbones: unknown family {family!r}: " + nearest(family, families()))
        return own
    module, name = FAMILIES[family].split(":")
    return getattr(importlib.import_module(module), name)


def adapter_class_of(config: PreTrainedConfig, source: str) -> type[Adapter]:
    """The adapter that serves a config read from `source`; UserError when there is none."""
    for family in FAMILIES:
        found = adapter_class(family)
        if found.serves(config):
            return found
    for own in registry.classes("family"):
        if own.serves(config):
            return own
    raise UserError(
        f"{source}: model_type {config.model_type!r} has no adapter: use a checkpoint of one of "
        + ", ".join(families())
    )
