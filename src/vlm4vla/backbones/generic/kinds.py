"""The generic adapter for a model type."""

from __future__ import annotations

from transformers import PreTrainedConfig

from vlm4vla.backbones.generic.canvas import CanvasAdapter
from vlm4vla.backbones.generic.encoder_decoder import EncoderDecoderAdapter
from vlm4vla.backbones.generic.family import GenericAdapter


def generic_adapter_class(config: PreTrainedConfig) -> type[GenericAdapter]:
    """The class of the adapter for `config`."""
    if config.is_encoder_decoder:
        return EncoderDecoderAdapter
    return CanvasAdapter if hasattr(config, "canvas_length") else GenericAdapter
