"""Values that a model needs and that transformers' default configuration of its type lacks.

A released checkpoint has them in its config.json. The twin of the type gets these, which the rules of
shrinking.py then make small.
"""

from __future__ import annotations

from typing import Any

# By model type and section; "" is the configuration itself.
ABSENT: dict[str, dict[str, dict[str, Any]]] = {
    "cohere_compass": {
        "text_config": {
            "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}},
        },
    },
    "deepseek_ocr2": {
        "text_config": {
            "mlp_layer_types": ["dense"] * 30 + ["sparse"] * 2,
            "n_group": 1,
            "topk_group": 1,
            "num_experts_per_tok": 6,
        },
    },
    "diffusion_gemma": {
        "text_config": {"num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704},
    },
    "granite4_vision": {
        # Four states stand for a window of sixteen: attention within a window needs more than one state.
        "": {
            "downsample_rate": "2/4",
            "deepstack_layer_map": [[-2, 0]],
            "spatial_target_layers": [1, 1, 2, 2],
        },
    },
    "hunyuan_vl": {
        # Positions have four axes; its model has no default for them.
        "text_config": {
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [16, 16, 16, 16]}
        },
    },
    "qwen4_exp": {
        "text_config": {
            "indexer_n_heads": 4,
            "indexer_kv_heads": 1,
            "indexer_head_dim": 128,
            "indexer_budget": 2048,
            "indexer_compress_ratio": 4,
            "eos_token_id": 0,
            "ple_layer_ids": [1],  # embeddings of several neighbouring words
            "number_of_conv_states": 3,  # follows from it
        },
    },
    # These lack two keys that the model reads.
    "qwen2_5_omni_thinker": {"": {"vision_start_token_id": 0, "vision_end_token_id": 0}},
    "qwen3_omni_moe_thinker": {"": {"vision_start_token_id": 0, "vision_end_token_id": 0}},
}


def with_absent_values(model_type: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a configuration of `model_type`, completed."""
    found = dict(values)
    for section, more in ABSENT.get(model_type, {}).items():
        if section:
            found[section] = {**found[section], **more}
        else:
            found |= more
    return found
