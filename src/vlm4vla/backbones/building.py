"""Tiny backbones with random weights."""

from __future__ import annotations

import torch
from transformers import AutoModelForImageTextToText

from vlm4vla.backbones.generic.building import build_generic
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class, is_generic
from vlm4vla.backbones.tiny_sizes import check_tiny
from vlm4vla.backbones.tiny_tokenizer import tiny_tokenizer
from vlm4vla.config.backbones import Backbone
from vlm4vla.core.errors import UserError


def build_tiny(settings: Backbone, name: str, words: list[str], image_size: int, seed: int) -> LoadedBackbone:
    """Build a family's real transformers class from a small config; see `backbones.build`."""
    size = settings.tiny
    if size is None:
        raise UserError(f"backbones.{name}: has a checkpoint and no `tiny` widths: load it, do not build it")
    check_tiny(size, name, image_size, settings.family)
    if is_generic(settings.family):
        return build_generic(settings.family, size, name, words, image_size, seed, settings.parts)
    family = adapter_class(settings.family)
    tokenizer = tiny_tokenizer(words, family.phrases)
    config = family.tiny_config(size, tokenizer, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, attn_implementation=family.attention)
        family.tiny_initialise(model)
    adapter = family(model.config, tokenizer, image_size)
    return LoadedBackbone(model, tokenizer, family.tiny_image_processor(image_size), adapter)
