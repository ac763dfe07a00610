"""Attention over pictures that lie end to end in one sequence, without a loop over pictures.

Qwen's vision encoders pack a batch of pictures (or windows) into one sequence and, unless flash attention
is asked for, attend to each in a Python loop. When all have one length, as here, the same attention is one
call on a reshaped batch. transformers hands packed lengths only to implementations whose name holds
"flash"; this one needs no such kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

NAME = "packed_sdpa_in_place_of_flash"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: object,
) -> tuple[Tensor, None]:
    """`query`, `key`, `value`: (1, heads, S, head size); returns (1, S, heads, head size).

    `cu_seq_lens_q`: (pieces + 1,) ends of the pieces; they attend within themselves only.
    """
    pieces = cu_seq_lens_q.numel() - 1
    total = query.shape[2]
    if pieces * max_length_q == total:
        split = [x[0].unflatten(1, (pieces, max_length_q)).transpose(0, 1) for x in (query, key, value)]
        attended = nn.functional.scaled_dot_product_attention(*split, scale=scaling)
        return attended.transpose(1, 2).reshape(1, total, *attended.shape[1::2]), None
    lengths = cu_seq_lens_q.diff().tolist()
    outputs = [
        nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling)
        for q, k, v in zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, packed_attention)


def use_packed_attention(vision_encoder: PreTrainedModel) -> None:
    """Switch a Qwen vision encoder to `packed_attention`; its folder does not record it."""
    vision_encoder.config._attn_implementation = NAME
