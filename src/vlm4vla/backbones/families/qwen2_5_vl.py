"""Qwen2.5-VL: a windowed vision encoder, rotary positions on three axes, ChatML.

Not obvious:
- `mrope_section` (time, row, column) must sum to half the head size.
- All vision layers but the last attend within windows of half the image's side, like the real encoder at 224
  pixels. `fullatt_block_indexes` holds the last layer.
- The vision encoder's MLPs have the width 3420, which in bfloat16 is not a multiple of 16 bytes. GPUs use
  slow kernels for such matrices, so on a GPU the MLPs are computed with the width 3456 (`aligned_mlp`).
"""

from __future__ import annotations

import types
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import PreTrainedModel, Qwen2_5_VLConfig
from transformers.vision_utils import get_vision_window_index

from vlm4vla.backbones.families.qwen import VIDEO, Qwen
from vlm4vla.backbones.tiny_sizes import PATCH, TINY_POSITIONS
from vlm4vla.config.backbones import TinySize

ALIGNED = 64  # elements: widths that are multiples of it get the fast matrix kernels


def aligned_mlp(mlp: nn.Module, states: Tensor) -> Tensor:
    """The output of a gated MLP, computed with its width zero-padded to a multiple of `ALIGNED`.

    In the padding, the gate and up projections are zero, so their product is zero and adds nothing to the
    result.
    """
    padding = -mlp.intermediate_size % ALIGNED

    def wide(linear: nn.Linear) -> Tensor:
        bias = None if linear.bias is None else pad(linear.bias, (0, padding))
        return nn.functional.linear(states, pad(linear.weight, (0, 0, 0, padding)), bias)

    hidden = mlp.act_fn(wide(mlp.gate_proj)) * wide(mlp.up_proj)
    return nn.functional.linear(hidden, pad(mlp.down_proj.weight, (0, padding)), mlp.down_proj.bias)


def _aligned_on_gpu(mlp: nn.Module, states: Tensor) -> Tensor:
    # The device is checked at every call, because the model moves to the GPU after `prepare_training`.
    return aligned_mlp(mlp, states) if states.is_cuda else type(mlp).forward(mlp, states)


class Qwen25VL(Qwen):
    family = model_type = "qwen2_5_vl"
    image_open, image_token, image_close = Qwen.image_open, Qwen.image_token, Qwen.image_close

    def index_tensors(self, grids: Tensor) -> dict[str, Any]:
        vision = self.config.vision_config
        index, ends = get_vision_window_index(
            grids, vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        return super().index_tensors(grids) | {
            "image_window_index": index,
            "image_cu_window_seqlens": ends,
            "image_max_window_seqlen": int(ends.diff().max()),
        }

    def prepare_training(self, model: PreTrainedModel) -> None:
        for block in model.model.visual.blocks:
            if block.mlp.intermediate_size % ALIGNED:
                block.mlp.forward = types.MethodType(_aligned_on_gpu, block.mlp)

    @classmethod
    def tiny_config(cls, size: TinySize, tokenizer, image_size: int) -> Qwen2_5_VLConfig:
        half = size.hidden // size.heads // 2
        side = half * 3 // 8  # for rows and for columns; the real model has 24 of 64
        return Qwen2_5_VLConfig(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": size.hidden,
                "intermediate_size": size.intermediate,
                "num_hidden_layers": size.layers,
                "num_attention_heads": size.heads,
                "num_key_value_heads": size.key_value_heads,
                "max_position_embeddings": TINY_POSITIONS,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e6,
                    "mrope_section": [half - 2 * side, side, side],
                },
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": None,
                "eos_token_id": tokenizer.convert_tokens_to_ids(cls.end),
            },
            vision_config={
                "depth": size.vision_layers,
                "hidden_size": size.vision_hidden,
                "intermediate_size": size.vision_intermediate,
                "num_heads": size.vision_heads,
                "out_hidden_size": size.hidden,
                "patch_size": PATCH,
                "spatial_merge_size": 1,
                "temporal_patch_size": 1,
                "window_size": image_size // 2,
                "fullatt_block_indexes": [size.vision_layers - 1],
            },
            tie_word_embeddings=True,
            **cls.token_ids(tokenizer),
        )


Qwen25VL.phrases += (VIDEO,)
