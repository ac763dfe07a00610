"""Values that a model needs and that transformers' default configuration of its type lacks.

A released checkpoint has them in its config.json. The twin of the type gets these, which the rules of
shrinking.py then make small.
"""

from __future__ import annotations

from typing import Any

# By model type and section; "" is the configuration itself.
ABSENT: dict[str, dict[str, dict[str, Any]]] = {
    "granite4_vision": {
        # Four states stand for a window of sixteen: self-attention within a window needs more than one state.
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
