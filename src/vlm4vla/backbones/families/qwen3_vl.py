"""Qwen3-VL: DeepStack vision features in the first text layers, interleaved rotary axes, ChatML.

Not obvious:
- Each index of `deepstack_visual_indexes` adds the features of one vision layer after one text layer. At most
  (text layers - 1) indices are useful; the features of further ones would reach no output.
- `mrope_section` (time, row, column) must sum to half the head size.
- `reading.deepstack: false` empties the list of indexes in the vision encoder, but not in the config, so the
  saved folder keeps the weights of DeepStack.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, Qwen3VLConfig
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

from vlm4vla.backbones.families.qwen import Qwen
from vlm4vla.backbones.tiny_sizes import PATCH, TINY_POSITIONS
from vlm4vla.config.backbones import TinySize


class Qwen3VL(Qwen):
    family = model_type = "qwen3_vl"
    config_class: type = Qwen3VLConfig

    def index_tensors(self, grids: Tensor) -> dict[str, Any]:
        vision = self.config.vision_config
        indices, weights = get_vision_interpolation_indices_and_weights(
            grids,
            num_grid_per_side=int(vision.num_position_embeddings**0.5),
            mode="bilinear",
            align_corners=True,
            spatial_merge_size=vision.spatial_merge_size,
        )
        return super().index_tensors(grids) | {
            "image_interp_indices": indices,
            "image_interp_weights": weights,
        }

    def prepare(self, model: PreTrainedModel) -> None:
        super().prepare(model)
        visual = model.model.visual
        indexes = visual.config.deepstack_visual_indexes
        visual.deepstack_visual_indexes = indexes if self.reading.deepstack else []

    @classmethod
    def tiny_text(cls, size: TinySize, tokenizer) -> dict[str, Any]:
        """The text config; the mixture-of-experts family adds its own keys."""
        half = size.hidden // size.heads // 2
        side = half * 5 // 16  # for rows and for columns; the real model has 20 of 64
        return {
            "vocab_size": len(tokenizer),
            "hidden_size": size.hidden,
            "intermediate_size": size.intermediate,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "head_dim": size.hidden // size.heads,
            "max_position_embeddings": TINY_POSITIONS,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [half - 2 * side, side, side],
                "mrope_interleaved": True,
            },
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": tokenizer.convert_tokens_to_ids(cls.end),
            "tie_word_embeddings": True,
        }

    @classmethod
    def tiny_config(cls, size: TinySize, tokenizer, image_size: int) -> Any:
        deepstack_layers = min(size.vision_layers - 1, size.layers - 1)
        return cls.config_class(
            text_config=cls.tiny_text(size, tokenizer),
            vision_config={
                "depth": size.vision_layers,
                "hidden_size": size.vision_hidden,
                "intermediate_size": size.vision_intermediate,
                "num_heads": size.vision_heads,
                "out_hidden_size": size.hidden,
                "patch_size": PATCH,
                "spatial_merge_size": 1,
                "temporal_patch_size": 1,
                "num_position_embeddings": (image_size // PATCH) ** 2,
                "deepstack_visual_indexes": list(range(deepstack_layers)),
            },
            tie_word_embeddings=True,
            **cls.token_ids(tokenizer),
        )
