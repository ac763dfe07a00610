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


def lineage(family: str) -> str:
    """The lineage of `family`.

    A family is a model type of transformers, and a new version of a model can be a new type. Its data and
    weights still come from the older version, so both are not independent points of a correlation.
    """
    return LINEAGES.get(family, family)
