"""How a policy's backbone reads its prompt, where that differs from the family's own format.

The released code of the study departs from the families' formats in these settings (docs/fidelity.md). Those
of a backbone apply to the training and the rollouts of policies with the study's action head. Expert VLAs
have their own. Pre-training, auxiliary fine-tuning and question scores keep the default.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from vlm4vla.config.base import OmitsDefaults

_QWEN3 = ("qwen3_vl", "qwen3_vl_moe")
# The families that have a setting. Every built-in family has `query_position`.
FAMILIES_WITH = {
    "positions": ("qwen2_5_vl", *_QWEN3),
    "deepstack": _QWEN3,
    "attention": ("paligemma", "paligemma2"),
    "image": ("kosmos-2",),
}


class Reading(OmitsDefaults):
    """How a policy's backbone reads image, instruction and action query."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({*FAMILIES_WITH, "query_position"})

    positions: Literal["three-axes", "one-axis"] = Field(
        "three-axes",
        description="Qwen: rotary positions of image tokens. `three-axes`: time, row and column, the "
        "family's format. `one-axis`: all three axes are the index of the token in the sequence.",
    )
    deepstack: bool = Field(
        True,
        description="Qwen3-VL: add features of earlier vision layers to the first layers of the text model "
        "(DeepStack), which is the family's format.",
    )
    attention: Literal["image", "prefix", "causal"] = Field(
        "image",
        description="PaliGemma: the tokens of the prompt that attend to each other in both directions. "
        "`prefix`: image and instruction, the family's format. `image`: the image only. `causal`: none. The "
        "action query attends to all of them.",
    )
    image: Literal["in-tags", "before-text"] = Field(
        "in-tags",
        description="Kosmos-2: place of the image tokens. `in-tags`: between the image tags, the family's "
        "format. `before-text`: before the whole text, which the tokenizer surrounds with its special "
        "tokens; the image tags then hold the word <image_pad>.",
    )
    query_position: Literal["next", "after-padding"] = Field(
        "next",
        description="Position of the action query in training. `next`: the position after the prompt. "
        "`after-padding`: as if every prompt were padded on the right to the longest one of its micro-batch, "
        "so results depend on `micro_batch`. In rollouts, both are the position after the prompt.",
    )

    def check_family(self, family: str) -> None:
        """Raise ValueError that names the first setting that `family` does not have."""
        for key, families in FAMILIES_WITH.items():
            if getattr(self, key) != type(self).model_fields[key].default and family not in families:
                raise ValueError(
                    f"reading.{key}: the family {family} has no such setting (only {', '.join(families)}): "
                    "remove this key"
                )
