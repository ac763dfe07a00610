"""Tiny backbones with random weights."""

from __future__ import annotations

import torch
from transformers import AutoModelForImageTextToText

from vlm4vla.backbones.adapter import PATCH
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class
from vlm4vla.backbones.tiny_tokenizer import tiny_tokenizer
from vlm4vla.config.backbones import Backbone
from vlm4vla.core.errors import UserError


def build_tiny(settings: Backbone, name: str, words: list[str], image_size: int, seed: int) -> LoadedBackbone:
    """Build a family's real transformers class from a small config; see `backbones.build`."""
    size = settings.tiny
    if size is None:
        raise UserError(f"backbones.{name}: has a checkpoint and no `tiny` widths: load it, do not build it")
    if image_size % PATCH or image_size < 2 * PATCH:
        raise UserError(
            f"image_size: {image_size} must be a multiple of {PATCH} and at least {2 * PATCH}: write 64"
        )
    for width, heads in (("hidden", "heads"), ("vision_hidden", "vision_heads")):
        if getattr(size, width) % (8 * getattr(size, heads)):
            raise UserError(
                f"backbones.{name}.tiny.{width}: {getattr(size, width)} must be a multiple of 8 times "
                f"{heads} ({getattr(size, heads)}), because rotary positions need that: write "
                f"{8 * getattr(size, heads)} or a multiple of it"
            )
    family = adapter_class(settings.family)
    tokenizer = tiny_tokenizer(words, family.phrases)
    config = family.tiny_config(size, tokenizer, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, attn_implementation=family.attention)
        family.tiny_initialise(model)
    adapter = family(model.config, tokenizer, image_size)
    return LoadedBackbone(model, tokenizer, family.tiny_image_processor(image_size), adapter)
