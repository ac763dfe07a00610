"""Qwen3-VL-MoE: a Qwen3-VL whose text layers route each token to a few of many small MLPs (experts).

Not obvious:
- The width of an expert is `moe_intermediate_size`. `intermediate_size` is the width of dense layers, and
  this model has none.
- The router's auxiliary loss is off, as in the study's fine-tuning.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, Qwen3VLMoeConfig

from vlm4vla.backbones.families.qwen3_vl import Qwen3VL
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

FEW_EXPERTS = 16  # the released model has 128 experts, which transformers multiplies in groups


class Qwen3VLMoe(Qwen3VL):
    family = model_type = "qwen3_vl_moe"
    config_class = Qwen3VLMoeConfig

    @classmethod
    def tiny_text(cls, size: TinySize, tokenizer) -> dict[str, Any]:
        if not 0 < size.experts_per_token <= size.experts:
            raise UserError(
                f"tiny.experts_per_token: {size.experts_per_token} of {size.experts} experts: a qwen3_vl_moe "
                "backbone needs `experts` of at least 1 and `experts_per_token` from 1 to `experts`"
            )
        return super().tiny_text(size, tokenizer) | {
            "moe_intermediate_size": size.intermediate,
            "num_experts": size.experts,
            "num_experts_per_tok": size.experts_per_token,
        }

    def prepare(self, model: PreTrainedModel) -> None:
        super().prepare(model)
        if model.config.text_config.num_experts <= FEW_EXPERTS:
            model.set_experts_implementation("eager")  # one product for each is faster
