"""Backbone families by name, and the adapter of each one.

Importing this module loads neither torch nor transformers, so the workflow can check a configuration with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from vlm4vla.core import registry
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.core.registry import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from vlm4vla.backbones.adapter import Adapter

# Built-in families whose language model does not work with an expert head. Kosmos-2 has no rotary positions,
# and its language model is called with other arguments.
WITHOUT_EXPERT_HEADS = ("kosmos-2",)


def known_families() -> list[str]:
    """The allowed values of `family`: the built-in families first, then those of the user's own files."""
    return [*FAMILIES, *registry.names("family")]


def supports_expert_heads(family: str) -> bool:
    """Whether the family's language model works with an expert head; True for an unknown family."""
    own = registry.find("family", family) if family not in FAMILIES else None
    return family not in WITHOUT_EXPERT_HEADS if own is None else own.is_read


def adapter_class(family: str) -> type[Adapter]:
    """The adapter of a family named in config.yaml; UserError if the family is unknown."""
    if family not in FAMILIES:
        own = registry.find("family", family)
        if own is None:
            raise UserError(f"backbones: unknown family {family!r}: " + suggestion(family, known_families()))
        return own
    module, name = FAMILIES[family].split(":")
    return getattr(importlib.import_module(module), name)


def adapter_class_of(config: PreTrainedConfig, source: str) -> type[Adapter]:
    """The adapter for a transformers config that was read from `source`; UserError if no adapter fits."""
    for family in FAMILIES:
        found = adapter_class(family)
        if found.serves(config):
            return found
    for own in registry.classes("family"):
        if own.serves(config):
            return own
    raise UserError(
        f"{source}: model_type {config.model_type!r} has no adapter: use a checkpoint of one of "
        + ", ".join(known_families())
    )
