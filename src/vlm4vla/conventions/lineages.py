"""The lineage of a backbone: families that one team developed from each other count as one."""

from __future__ import annotations

# Family (as in config.yaml) to lineage. A family that is not here is a lineage of its own.
LINEAGES = {
    "qwen2_5_vl": "Qwen",
    "qwen3_vl": "Qwen",
    "qwen3_vl_moe": "Qwen",
    "paligemma": "PaliGemma",
    "paligemma2": "PaliGemma",
}

# Families of the backbones whose scores the paper publishes.
PUBLISHED_FAMILIES = {
    "qwen2.5-vl-3b": "qwen2_5_vl",
    "qwen2.5-vl-7b": "qwen2_5_vl",
    "qwen3-vl-2b": "qwen3_vl",
    "qwen3-vl-4b": "qwen3_vl",
    "qwen3-vl-8b": "qwen3_vl",
    "qwen3-vl-30b-a3b": "qwen3_vl_moe",
    "paligemma-1": "paligemma",
    "paligemma-2": "paligemma2",
    "kosmos-2": "kosmos-2",
    "internvl3.5-4b": "internvl",
}


def lineage(family: str) -> str:
    """The lineage of `family`.

    A family is a model type of transformers, and a new version of a model can be a new type. Its data and
    weights still come from the older version, so both are not independent points of a correlation.
    """
    return LINEAGES.get(family, family)
