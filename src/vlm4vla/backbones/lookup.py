"""Backbone families by name, and the adapter of each one.

Importing this module loads neither torch nor transformers, so the workflow can check a configuration with it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from pathlib import Path
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
WITHOUT_PACKING = ("paligemma", "paligemma2")  # tokens of an image attend to later ones
MAPPING = "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"  # of transformers


def known_families() -> list[str]:
    """The allowed values of `family`: the built-in families first, then those of the user's own files."""
    return [*FAMILIES, *registry.names("family")]


@functools.cache
def generic_types() -> frozenset[str]:
    """The model types of transformers that read an image and a text and write a text.

    They are read from the source of transformers, which takes much longer to import.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        return frozenset()
    source = (Path(spec.origin).parent / "models" / "auto" / "modeling_auto.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == MAPPING:
            return frozenset(dict(ast.literal_eval(node.value.args[0])))
    return frozenset()


def registered_types() -> set[str]:
    """The model types that a user's file has registered with `AutoModelForImageTextToText`."""
    auto = sys.modules.get("transformers.models.auto.modeling_auto")
    mapping = getattr(auto, MAPPING.removesuffix("_NAMES"), None)
    return {config.model_type for config in getattr(mapping, "_extra_content", ())}


def is_generic(family: str) -> bool:
    """Whether `family` is a model type that the generic adapter serves."""
    if family in known_families():
        return False
    return family in generic_types() or family in registered_types()


def is_known(family: str) -> bool:
    """Whether a backbone can have this `family`."""
    return family in known_families() or is_generic(family)


def supports_expert_heads(family: str) -> bool:
    """Whether the family's language model works with an expert head."""
    if family in FAMILIES:
        return family not in WITHOUT_EXPERT_HEADS
    own = registry.find("family", family)
    return own is not None and own.is_read


def supports_packing(family: str) -> bool:
    """Whether a training can use attention without padding (`attention: flash_attention_2`)."""
    if family in FAMILIES:
        return family not in WITHOUT_PACKING
    own = registry.find("family", family)
    return own is not None and own.plainly_causal


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
    if is_generic(config.model_type):
        from vlm4vla.backbones.generic.kinds import generic_adapter_class

        return generic_adapter_class(config)
    raise UserError(
        f"{source}: model_type {config.model_type!r} has no adapter: use a checkpoint of a model for images "
        "and text, such as " + ", ".join(known_families())
    )
