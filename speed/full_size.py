"""Backbones at their published widths with random weights, for programs that measure speed.

The widths are those in the configurations of the checkpoints: Qwen/Qwen2.5-VL-3B-Instruct,
Qwen/Qwen3-VL-2B-Instruct, google/paligemma-3b-pt-224 and microsoft/kosmos-2-patch14-224. A small tokenizer
splits the words. So prompts have nearly the real length, and the vocabulary has the real size. Qwen's image
processor enlarges images to 448x448 pixels, as in workflow/scales/paper.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    Kosmos2Config,
    PaliGemmaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlm4vla.backbones import build
from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.families.qwen import Qwen
from vlm4vla.backbones.image_size import processed_side
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class
from vlm4vla.backbones.tiny_tokenizer import BOS, EOS, tiny_tokenizer
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.workflow.estimate.published_configs import published_configs

SIDE = 224  # pixels of the study's images
QWEN_PIXELS = 448 * 448  # the smallest image that the study's Qwen reads


def qwen(tokenizer: PreTrainedTokenizerBase, family: type[Adapter]) -> PreTrainedConfig:
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": tokenizer.convert_tokens_to_ids(family.end),
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        tie_word_embeddings=True,
        **Qwen.token_ids(tokenizer),
    )


def qwen3(tokenizer: PreTrainedTokenizerBase, family: type[Adapter]) -> PreTrainedConfig:
    fields = published_configs()["Qwen/Qwen3-VL-2B-Instruct"].config
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids(family.end),
    }
    return Qwen3VLConfig(
        text_config=fields["text_config"] | ids,
        vision_config=dict(fields["vision_config"]),
        tie_word_embeddings=True,
        **Qwen.token_ids(tokenizer),
    )


def paligemma(tokenizer: PreTrainedTokenizerBase, family: type[Adapter]) -> PreTrainedConfig:
    return PaliGemmaConfig(
        text_config={
            "model_type": "gemma",
            "vocab_size": 257216,
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_hidden_layers": 18,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "num_image_tokens": 256,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.convert_tokens_to_ids(BOS),
            "eos_token_id": tokenizer.convert_tokens_to_ids(EOS),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": SIDE,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vocab_size=257216,
        projection_dim=2048,
        hidden_size=2048,
        tie_word_embeddings=True,
    )


def kosmos(tokenizer: PreTrainedTokenizerBase, family: type[Adapter]) -> PreTrainedConfig:
    return Kosmos2Config(
        text_config={
            "vocab_size": 65037,
            "embed_dim": 2048,
            "ffn_dim": 8192,
            "layers": 24,
            "attention_heads": 32,
            "max_position_embeddings": 2048,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.convert_tokens_to_ids(BOS),
            "eos_token_id": tokenizer.convert_tokens_to_ids(EOS),
        },
        vision_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": SIDE,
            "patch_size": 14,
        },
        latent_query_num=64,
    )


FULL: dict[str, tuple[str, Callable[..., PreTrainedConfig]]] = {
    "qwen2.5-vl-3b": ("qwen2_5_vl", qwen),
    "qwen3-vl-2b": ("qwen3_vl", qwen3),
    "paligemma-1": ("paligemma", paligemma),
    "kosmos-2": ("kosmos-2", kosmos),
}


def full(name: str, words: list[str], device: torch.device) -> LoadedBackbone:
    """Build a backbone of `FULL` in float32 on `device`."""
    family_name, config_of = FULL[name]
    family = adapter_class(family_name)
    tokenizer = tiny_tokenizer(words, family.phrases)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            config_of(tokenizer, family), attn_implementation=family.attention, dtype=torch.float32
        )
    processor: Any = family.tiny_image_processor(SIDE)
    side = SIDE
    if family.has_pixel_bounds:
        bounds = {"shortest_edge": QWEN_PIXELS, "longest_edge": 2 * QWEN_PIXELS}
        patch_size = model.config.vision_config.patch_size
        processor = Qwen2VLImageProcessorPil(size=bounds, patch_size=patch_size)
        side = processed_side(bounds, processor.patch_size * processor.merge_size)
    return LoadedBackbone(model, tokenizer, processor, family(model.config, tokenizer, side))


def tiny(name: str, words: list[str]) -> LoadedBackbone:
    """Build a backbone of the same family with some hundred thousand weights and 64 pixels, for a trial."""
    family, _ = FULL[name]
    settings = Backbone(family=family, parameters_b=1, tiny=TinySize(), pretraining="none")
    return build(settings, name, words, 64, 0)
