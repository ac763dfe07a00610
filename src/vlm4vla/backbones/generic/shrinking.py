"""A small configuration of any model type, made from transformers' default one by rules for the names of its
keys.

The rules know names, not models. What they get wrong shows when the model is built or run (checks.py).
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from vlm4vla.backbones.generic.absent_values import with_absent_values
from vlm4vla.backbones.generic.small_values import with_small_values
from vlm4vla.backbones.tiny_sizes import PATCH
from vlm4vla.config.backbones import TinySize

TINY_SIDE = "vlm4vla_image_size"  # key of a twin's config.json: the side of its images in pixels
WIDTHS = {"hidden_size", "d_model", "embed_dim", "n_embd", "width", "hidden_dim", "word_embed_proj_dim"}
WIDTHS |= {"adapter_in_dim", "adapter_input_size", "ple_embed_dim"}
LAYERS = {
    "num_hidden_layers",
    "n_layer",
    "depth",
    "num_layers",
    "encoder_layers",
    "decoder_layers",
    "n_layers",
    "layers",
}
HEADS = {
    "num_attention_heads",
    "n_head",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "attention_heads",
    "swa_num_attention_heads",
    "linear_num_value_heads",
    "mamba_num_heads",
    "linear_num_heads",
}
KEY_VALUE_HEADS = {
    "num_key_value_heads",
    "swa_num_key_value_heads",
    "num_global_key_value_heads",
    "linear_num_key_heads",
}
HEAD_WIDTHS = {
    "head_dim",
    "global_head_dim",
    "swa_head_dim",
    "d_kv",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_head_dim",
    "query_pre_attn_scalar",
    "mamba_head_dim",
}
INNER = {
    "intermediate_size",
    "ffn_dim",
    "mlp_dim",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "ffn_hidden_size",
    "d_ff",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "intermediate_size_mlp",
    "dense_intermediate_size",
    "shared_intermediate_size",
    "shared_experts_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "block_ff_dim",
    "projector_intermediate_size",
    "alignment_intermediate_size",
    "projection_intermediate_size",
}
EXPERTS = {"num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"}
CHOSEN = {"num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "top_k_experts"}
TO_TEXT = {  # widths of a vision config that are those of the text model
    "out_hidden_size",
    "text_hidden_size",
    "adapter_out_dim",
    "output_dim",
    "projection_dim",
    "output_size",
}
LORA = {"q_lora_rank", "kv_lora_rank"}
VOCABULARIES = {"vocab_size", "vocab_size_per_layer_input"}
LEAST_INITIAL = 1e-4  # a default below it would hide the image in a model with random weights
# How many patches a side become one token of the text model: a number, a pair of equal ones, or a share
MERGES = (
    "spatial_merge_size",
    "merge_kernel_size",
    "merge_size",
    "scale_factor",
    "downsample_factor",
    "pixel_shuffle_ratio",
    "downsample_ratio",
)
POOLED = "pooling_kernel_size"  # of Gemma 4, whose processor makes at least this many tokens of an image:
LEAST_POOLED = 64
# With 1, transformers 5.23 takes the padding of Gemma 4's images for their content.
KERNEL = 2
# Types whose projector merges patches without a key that says how many a side
MERGED = {"got_ocr2": 4, "pp_chart2table": 4}
# Types whose processor makes images of this many pixels a side, or writes the tokens for that many, whatever
# its settings say; for Aria, with the number of pixels a side of a patch that makes 16 image tokens
SIDES = {"got_ocr2": 256, "aria": 980}
STARTED = 1e-3  # the least standard deviation of random weights that do something
WRITTEN = 64  # image tokens that Kosmos-2's processor always writes
VISION = ("vision", "visual", "vit", "sam", "image", "clip", "siglip")
SOUND = ("audio", "speech", "sound")


class Shrinking:
    """The rules, for one size, vocabulary and side of the image in pixels."""

    def __init__(self, size: TinySize, vocabulary: int, image_size: int):
        self.size = size
        self.vocabulary = vocabulary
        self.image_size = image_size

    def config(self, model_type: str) -> PreTrainedConfig:
        """The small configuration of `model_type`."""
        default = CONFIG_MAPPING[model_type]()
        for name, kind in default.sub_configs.items():
            if getattr(default, name, None) is None and "vision" in name:
                setattr(default, name, kind())  # by default without images
        self.sections = default_sections(default)
        values = with_absent_values(model_type, default.to_dict())
        self.side = SIDES.get(model_type, self.image_size)
        self.patch = self.patch_of(values, MERGED.get(model_type))
        small = self.shrink(values, ()) | {TINY_SIDE: self.image_size}
        return type(default).from_dict(with_small_values(model_type, small, self.size))

    def patch_of(self, values: dict[str, Any], merged: int | None = None) -> int:
        """The side in pixels of a patch, by the default configuration: PATCH pixels become a token.

        `merged`: how many patches a side become one token, if no key says it.
        """
        if "projector_patch_to_query_dict" in values:
            return self.side * PATCH // self.image_size
        if POOLED in values or any(POOLED in part for part in values.values() if isinstance(part, dict)):
            return self.image_size // math.isqrt(LEAST_POOLED) // KERNEL
        # MiniCPM-V merges patches within its vision encoder, and again behind it.
        window = values.get("vision_config", {}).get("window_kernel_size", (1, 1))[0]
        return max(1, PATCH // ((merged or merge_of(values)) * window))

    def shrink(self, values: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        """A copy of a configuration's values; `path`: the keys that lead to it."""
        sees = any(part in key for key in path for part in (*VISION, *SOUND))
        size = self.size
        width, heads = (size.vision_hidden, size.vision_heads) if sees else (size.hidden, size.heads)
        inner, layers = (
            (size.vision_intermediate, size.vision_layers) if sees else (size.intermediate, size.layers)
        )
        before = next((values[key] for key in sorted(LAYERS) if isinstance(values.get(key), int)), None)
        small: dict[str, Any] = {}
        for key, value in values.items():
            small[key] = value
            if key == "per_layer_config" and isinstance(value, dict) and before:
                moved = {int(layer) - before + layers: each for layer, each in value.items()}
                small[key] = {layer: self.shrink(each, path) for layer, each in moved.items() if layer >= 0}
            elif key == "projector_patch_to_query_dict":  # by the number of patches; the processor, by pixels
                tokens = (self.image_size // PATCH) ** 2
                small[key], small["size_conversion"] = {tokens: tokens}, {self.side: tokens}
            elif key in ("initializer_range", "init_std") and isinstance(value, float):
                # Narrow layers need larger weights, and some types have no random weights by default.
                small[key] = width**-0.5 if key == "init_std" or value < STARTED else value
            elif isinstance(value, dict):
                small[key] = self.shrink(value, (*path, key))
            elif isinstance(value, list):
                small[key] = self._list(key, value, before, layers)
            elif key == "initializer_range" and isinstance(value, float) and value < LEAST_INITIAL:
                small[key] = 0.02
            elif key == "head_dim" and value is None and "num_attention_heads" in values:
                small[key] = width // heads
            elif isinstance(value, bool) or not isinstance(value, int):
                continue
            elif key in WIDTHS:
                small[key] = width
            elif key in LAYERS:
                small[key] = layers
            elif key in HEADS:
                small[key] = heads
            elif key in KEY_VALUE_HEADS:
                own = values.get("num_attention_heads")
                small[key] = heads if value == own else 1 if value == 1 else min(heads, size.key_value_heads)
            elif key in HEAD_WIDTHS and value == 0:  # this part of a head is absent
                continue
            elif key == "head_dim" and value > values.get("qk_rope_head_dim", value):
                small[key] = 2 * (width // heads)  # the rotated part and the other part
            elif key in HEAD_WIDTHS:
                small[key] = width // heads
            elif key == "qk_head_dim":
                small[key] = 2 * (width // heads)
            elif key in INNER:
                small[key] = inner
            elif key in EXPERTS:
                small[key] = size.experts or 4
            elif key in CHOSEN:
                small[key] = min(value, size.experts_per_token or 2)
            elif key in TO_TEXT:
                small[key] = size.hidden
            elif key in LORA:
                small[key] = width // 2
            elif key in VOCABULARIES:
                small[key] = self.vocabulary
            elif key == "hidden_size_per_layer_input":
                small[key] = width // heads
            elif sees and key == "image_size":
                small[key] = self.side
            elif key == "latent_query_num":
                small[key] = WRITTEN
            elif sees and key == "patch_size":
                small[key] = self.patch
            elif key == POOLED:
                small[key] = KERNEL
            elif sees and key == "position_embedding_size":
                small[key] = self.image_size // self.patch
            elif key in (
                "mm_tokens_per_image",
                "image_seq_length",
                "num_image_tokens",
                "vision_soft_tokens_per_image",
            ):
                small[key] = (self.image_size // PATCH) ** 2
            elif key == "ngram_vocab_size_base":
                small[key] = self.vocabulary
            elif key == "insert_layer_id":  # a merger behind this layer of the vision encoder
                small[key] = 0
            elif key in ("n_group", "topk_group"):
                small[key] = 1
            elif key in ("first_k_dense_replace", "num_kv_shared_layers"):
                small[key] = min(value, 1 if key == "first_k_dense_replace" else 0)
            elif key == "num_position_embeddings":
                small[key] = (self.image_size // self.patch) ** 2
            elif key in ("vision_feature_layer", "vision_feature_layers") and value < 0:
                small[key] = max(value, -size.vision_layers)
        if "intermediate_layers_indices" in small:  # the last layer's states beside those of earlier ones
            small["vision_output_dim"] = width * (1 + len(small["intermediate_layers_indices"]))
        if (
            "pixel_shuffle_ratio" in small and "projector_input_dim" in small
        ):  # neighbouring patches are joined
            small["intermediate_size"] = int(width / small["pixel_shuffle_ratio"] ** 2)
            for key in ("projector_input_dim", "projector_output_dim", "vision_output_dim"):
                small[key] = inner
        if isinstance(values.get("patch_stride"), list):
            self._stages(small, values["patch_size"])
        if not sees:
            self._rotary(small, width // heads)
        return small

    def _list(self, key: str, value: list[Any], before: int | None, layers: int) -> list[Any]:
        if before is not None and len(value) == before and before > layers:
            return value[-layers:]  # the last one is often of the rarer kind
        if key == "global_attn_indexes" and self.side > self.image_size:
            return []  # attention over all parts of a large image would take minutes
        of_layers = key.endswith(("_indexes", "_indices", "_layers", "_layer", "_ids"))
        if of_layers and "token" not in key and "target" not in key:
            whole = all(isinstance(each, int) and not isinstance(each, bool) for each in value)
            if whole and value:
                return sorted({each % self.size.vision_layers for each in value})[
                    : max(1, self.size.layers - 1)
                ]
        if key == "downsample_channels":
            return [self.size.vision_hidden] * len(value)
        if key == "image_grid_pinpoints":
            return [[self.image_size, self.image_size]]
        if key == "image_size" and all(isinstance(each, int) for each in value):
            return [self.image_size] * len(value)
        if key == "patch_size" and all(isinstance(each, int) for each in value):
            return [self.patch] * len(value)
        return value

    def _stages(self, values: dict[str, Any], kernels: list[int]) -> None:
        """Let the stages of a convolutional encoder (Florence-2) be small, with their own kernels."""
        count = len(kernels)
        values["patch_size"], values["depths"] = kernels, [1] * count
        values["embed_dim"] = [self.size.vision_hidden] * count
        values["num_heads"] = values["num_groups"] = [self.size.vision_heads] * count

    def _rotary(self, values: dict[str, Any], head: int) -> None:
        """Let the sections of rotary positions fill half of the rotated part of a head."""
        for key in ("rope_parameters", "rope_scaling"):
            found = values.get(key)
            if not isinstance(found, dict):
                continue
            for each in (found, *found.values()):  # some models have an entry for each type of layer
                if isinstance(each, dict):
                    self._sections(each, values, head)

    def _sections(self, found: dict[str, Any], values: dict[str, Any], head: int) -> None:
        """The sections of one entry `found` of the configuration `values`."""
        sections = found.get("mrope_section") or (self.sections if "rope_theta" in found else None)
        if not sections:
            return
        share = found.get("partial_rotary_factor", values.get("partial_rotary_factor")) or 1.0
        half = int((values.get("head_dim") or head) * share) // 2
        scaled = [each * half // sum(sections) for each in sections]
        # What is left goes to the section unlike the others: some models need two of equal size.
        odd = next((i for i, each in enumerate(sections) if sections.count(each) == 1), 0)
        scaled[odd] += half - sum(scaled)
        found["mrope_section"] = scaled


def merge_of(values: dict[str, Any]) -> int:
    """How many patches a side become one token, by the keys `MERGES`, also in parts of the configuration."""
    for key in MERGES:
        value = values.get(key)
        value = value[0] if isinstance(value, (list, tuple)) else value
        if isinstance(value, float) and 0 < value < 1:
            return round(1 / value)
        if isinstance(value, int) and value > 1:
            return value
    parts = (part for name, part in values.items() if isinstance(part, dict) and "audio" not in name)
    return max((merge_of(part) for part in parts), default=1)


def default_sections(config: PreTrainedConfig) -> list[int] | None:
    """The sections of rotary positions that a model's source falls back to, if it has positions on axes."""
    for part in (config.get_text_config(), config):
        name = type(part).__module__.replace("configuration_", "modeling_")
        try:
            source = inspect.getsource(importlib.import_module(name))
        except ModuleNotFoundError:  # a type that borrows the model of another one
            continue
        found = re.search(r'"mrope_section", (\[[\d, ]+\])', source)
        if found:
            return json.loads(found.group(1))
    return None
