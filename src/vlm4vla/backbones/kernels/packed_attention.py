"""Attention over images that are packed into one sequence, without a loop over images.

Qwen's vision encoders pack a batch of images (or windows) into one sequence. Without flash attention, they
compute the attention of each image in a Python loop. If all images have the same length, as here, one call on
a reshaped batch gives the same result. transformers passes the lengths only to implementations whose name
contains "flash", hence the name of this one; it needs no flash kernel.
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
    """Attention within each image (or window) of a packed sequence; returns (1, S, heads, head size).

    `query`, `key`, `value`: (1, heads, S, head size). `cu_seq_lens_q`: (images + 1,), the boundaries of the
    images in the sequence. `max_length_q`: the length of the longest image.
    """
    images = cu_seq_lens_q.numel() - 1
    total = query.shape[2]
    if images * max_length_q == total:
        split = [x[0].unflatten(1, (images, max_length_q)).transpose(0, 1) for x in (query, key, value)]
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
    """Switch a Qwen vision encoder to `packed_attention`; the saved folder does not record this."""
    vision_encoder.config._attn_implementation = NAME
