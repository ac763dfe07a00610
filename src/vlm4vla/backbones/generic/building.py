"""Tiny backbones of any model type: twins with the widths of the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from vlm4vla.backbones.generic.kinds import generic_adapter_class
from vlm4vla.backbones.generic.parts import NAMES
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.backbones import PartNames, TinySize
from vlm4vla.core.errors import UserError, one_line


def build_generic(
    model_type: str,
    size: TinySize,
    name: str,
    words: Sequence[str],
    image_size: int,
    seed: int,
    parts: PartNames | None = None,
) -> LoadedBackbone:
    """Build the twin of a model type; see `backbones.build`. `name`: the backbone's, for messages."""
    source = f"config.yaml: backbones.{name}"
    try:
        model, processor = build_twin(model_type, size, words, image_size, seed)
        if parts is not None:
            setattr(model.config, NAMES, parts.model_dump(exclude_none=True))
        adapter = generic_adapter_class(model.config)(model.config, processor, image_size, source)
        return LoadedBackbone(model, processor.tokenizer, processor.image_processor, adapter)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # transformers raises errors of many types for impossible sizes
        raise UserError(
            f"{source}.tiny: transformers cannot build a small {model_type!r} with these widths "
            f"({type(error).__name__}: {one_line(str(error))[:200]}): write other widths or another family"
        ) from error
