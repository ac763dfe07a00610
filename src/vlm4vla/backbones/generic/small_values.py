"""Values of a tiny twin that the rules of shrinking.py cannot find by the names of keys.

Most of them are a width that a type states a second time, or the settings of its image processor. Vision
encoders of timm take the arguments of their own architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlm4vla.backbones.tiny_sizes import PATCH
from vlm4vla.config.backbones import TinySize

STRONG = 0.1  # of random weights, where those of transformers' default would hide the image
CODES = 10  # in a codebook
TIMM_STRIDE = 64  # pixels for each token of a FastViT with five stages
Values = dict[str, Any]


def _wide(factor: int = 1) -> Callable[[TinySize], int]:
    return lambda size: factor * size.vision_hidden


def _text(factor: int = 1) -> Callable[[TinySize], int]:
    return lambda size: factor * size.hidden


def _sam(size: TinySize) -> list[int]:
    return [2 * size.vision_hidden, size.vision_hidden]


# By model type and section; "" is the configuration itself. A function gets the sizes of the twin.
CONFIG: dict[str, dict[str, Values]] = {
    "molmo2": {
        "adapter_config": {
            "hidden_size": _wide(),
            "num_attention_heads": lambda size: size.vision_heads,
            "num_key_value_heads": lambda size: size.vision_heads,
            "head_dim": lambda size: size.vision_hidden // size.vision_heads,
            "initializer_range": STRONG,
        },
        "text_config": {
            "additional_vocab_size": 0,
            "rope_scaling_layers": lambda size: [*range(size.layers)],
        },
    },
    "gemma4_unified": {
        "vision_config": {"mm_embed_dim": _text(), "output_proj_dims": _text(), "mm_posemb_size": PATCH},
    },
    "gemma3n": {
        "vision_config": {
            "model_args": {"channel_multiplier": 0.1, "msfa_output_resolution": 4},
            "hidden_size": 2048,  # the encoder's last width does not depend on its arguments
        },
        "text_config": {
            "intermediate_size": lambda size: [size.intermediate] * size.layers,
            "laurel_rank": 8,
        },
    },
    "fast_vlm": {
        "vision_config": {
            "initializer_range": 3 * STRONG,
            "model_args": {
                "inference_mode": True,
                "layers": [1, 1, 1, 1, 1],
                "embed_dims": lambda size: [8, 16, 32, 32, size.vision_hidden],
                "cls_ratio": 1.0,
            },
        },
    },
    "perception_lm": {
        "": {"projector_pooling_ratio": 2},
        "vision_config": {
            "architecture": "vit_pe_lang_large_patch14_448",
            "do_pooling": False,
            "model_args": {
                "depth": lambda size: size.vision_layers,
                "embed_dim": _wide(),
                "num_heads": lambda size: size.vision_heads,
                "patch_size": PATCH,
                "img_size": [4 * PATCH, 4 * PATCH],
                "ref_feat_shape": [4, 4],
            },
        },
    },
    "minicpm_ocr": {"": {"insert_layer_id": 0}, "vision_config": {"insert_layer_id": 0}},
    "kimi_k25": {"": {"projection_hidden_size": _wide()}},
    "step3p7": {
        "text_config": {"share_expert_dim": _text(), "num_sliding_attention_heads": 4, "sliding_window": 512}
    },
    "nemotron_h_omni": {
        "": {"vision_hidden_size": _wide(), "projector_hidden_size": _wide()},
        "text_config": {"n_groups": 1},
    },
    "minimax_m3_vl": {"": {"projector_hidden_size": _text(), "merged_hidden_size": _text(4)}},
    "muse_glimmer": {"": {"out_hidden_size": _wide(4), "projector_hidden_size": _wide()}},
    "muse_spark": {
        "": {"out_hidden_size": _wide(4), "projector_hidden_size": _wide()},
        "text_config": {"moe_hidden_size": _text()},
    },
    "mistral_large4": {"text_config": {"kv_source_layers": lambda size: [*range(size.layers)]}},
    "fuyu": {"": {"patch_size": PATCH}},
    # The weights between its parts take their size from the configuration itself, which does not state one.
    "kosmos-2.5": {"": {"initializer_range": 2 * STRONG}},
    # Their layers have groups of 32 channels. The number of stages is that of released checkpoints for Emu3,
    # whose processor expects it.
    "chameleon": {
        "vq_config": {
            "num_embeddings": CODES,
            "embed_dim": 16,
            "latent_channels": 16,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1, 1],
            "num_res_blocks": 1,
            "resolution": 4 * PATCH,
        },
    },
    "emu3": {
        "vq_config": {
            "codebook_size": CODES,
            "embed_dim": 4,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "num_res_blocks": 1,
            "hidden_size": 32,
            "num_attention_heads": 1,
        },
    },
    "unlimited_ocr": {"sam_config": {"downsample_channels": _sam, "initializer_range": STRONG}},
}

# Settings of an image processor for images of 64x64 pixels. A function gets the small configuration.
IMAGES: dict[str, Values] = {
    "molmo2": {"overlap_margins": [1, 1], "max_crops": 1},
    # The image tokens on a side.
    "cohere2_vision": {"patch_size": lambda config: config.vision_config.image_size // PATCH},
    "lfm2_vl": {"encoder_patch_size": lambda config: config.vision_config.patch_size},
    "minicpm_ocr": {"scale_resolution": 4 * PATCH},
    "perception_lm": {"tile_size": 4 * PATCH, "vision_input_type": "vanilla"},
    "nemotron_h_omni": {"min_num_patches": 16, "max_num_patches": 16},
    # Of the part of an image that becomes one token.
    "inkling2": {"size": {"height": PATCH, "width": PATCH}},
    "inkling_mm_model": {"size": {"height": PATCH, "width": PATCH}},
}

# Settings of a processor.
PROCESSOR: dict[str, Values] = {
    "fast_vlm": {"patch_size": TIMM_STRIDE, "num_additional_image_tokens": 0},
    "perception_lm": {"patch_size": PATCH},
}

# Tokens that a configuration names by other keys than `image_token_id`, or that the processor does not name
# as attributes: the texts for keys of the configuration.
TOKENS: dict[str, dict[str, str | list[str]]] = {
    "molmo2": {"image_patch_id": "<im_patch>"},
    "ovis2": {
        "image_token_id": "<IMG_ATOM>",
        "visual_indicator_token_ids": ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"],
    },
}

# Tokens in the `vocabulary_map` of models that turn images into codes, beside the image token: a token for
# each code, whose number the model reads from its text, and Emu3's end of a row.
CODE_TOKENS: dict[str, tuple[str, ...]] = {
    "chameleon": tuple(f"IMGIMG{'ABCDEFGHIJ'[code]}Z" for code in range(CODES)),
    "emu3": (*(f"<|visual token {code:06d}|>" for code in range(CODES)), "<|extra_200|>"),
}


def with_small_values(model_type: str, values: Values, size: TinySize) -> Values:
    """The values of a small configuration of `model_type`, with those of `CONFIG`."""
    found = dict(values)
    for section, more in CONFIG.get(model_type, {}).items():
        if section:
            _put(found, section, _filled(more, size))
        else:
            found |= _filled(more, size)
    return found


def _put(values: Values, section: str, more: Values) -> None:
    """Put `more` into the section, wherever it is in `values`."""
    for key, value in values.items():
        if isinstance(value, dict):
            if key == section:
                values[key] = value | more
            else:
                _put(value, section, more)


def _filled(values: Values, size: TinySize) -> Values:
    return {
        key: _filled(value, size) if isinstance(value, dict) else value(size) if callable(value) else value
        for key, value in values.items()
    }
