"""Text layers that compute no padding: a batch's sequences lie end to end in one, each attending to itself.

Attention is FlashAttention-2's over sequences of different lengths, as torch has it (on a CPU, one call a
sequence). For text that is plainly causal: a family whose picture tokens see each other needs a mask.

Not obvious:
- transformers hands the lengths to no attention but its own, so they are kept here, for the last batch. A
  layer that is computed again in the backward pass finds the same ones.
- Positions that nobody reads cannot be left out of the last layer (last_position.py): its output lies in one
  row for all sequences.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

NAME = "padding_free"


@dataclass
class _Lengths:
    ends: Tensor  # (sequences + 1,) int32, where each begins and the last ends
    longest: int  # at least


_present: _Lengths | None = None


@torch.compiler.disable  # `_present` is another for every batch
def padding_free_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, None]:
    """`query` (1, heads, N, size), `key` and `value` with as many heads or a part of them; returns
    (1, N, heads, size). Raises RuntimeError outside of `packed`."""
    if _present is None:
        raise RuntimeError("attention without padding needs a batch from backbones.padding_free.packed")
    if torch.is_autocast_enabled(query.device.type):
        lower = torch.get_autocast_dtype(query.device.type)
        query, key, value = (x.to(lower) for x in (query, key, value))
    if query.device.type == "cuda":
        from torch.nn.attention.varlen import varlen_attn

        rows = [x[0].transpose(0, 1).contiguous() for x in (query, key, value)]  # (N, heads, size)
        ends, longest = _present.ends, _present.longest
        attended = varlen_attn(
            *rows, ends, ends, longest, longest, scale=scaling, window_size=(-1, 0), enable_gqa=True
        )
        return attended[None], None
    attended = [
        nn.functional.scaled_dot_product_attention(
            *(x[:, :, start:stop] for x in (query, key, value)),
            is_causal=True,
            scale=scaling,
            enable_gqa=True,
        )
        for start, stop in itertools.pairwise(_present.ends.tolist())
    ]
    return torch.cat(attended, dim=2).transpose(1, 2), None


# Without a mask function of that name, transformers makes no mask.
AttentionInterface.register(NAME, padding_free_attention)


def is_padding_free(model: PreTrainedModel) -> bool:
    """Whether the model's text layers were switched to `padding_free_attention`."""
    return model.config.get_text_config()._attn_implementation == NAME


def packed(read: Callable[..., Any], embeddings: Tensor, inputs: dict[str, Any]) -> Tensor:
    """Hidden states (B, T, d), zero where there is padding, of embeddings (B, T, d).

    `read`: the model without its output layer, called with embeddings (1, N, d), positions (..., 1, N) and
    the other inputs; N tokens are real. Every input per token must be among attention_mask and position_ids.
    """
    global _present
    rest = dict(inputs)
    real = rest.pop("attention_mask").bool()
    positions = rest.pop("position_ids")[..., real]
    ends = nn.functional.pad(real.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    _present = _Lengths(ends, real.shape[1])
    states = read(
        inputs_embeds=embeddings[real][None], position_ids=positions.unsqueeze(-2), use_cache=False, **rest
    ).last_hidden_state
    spread = states.new_zeros(*real.shape, states.shape[-1])
    spread[real] = states[0]
    return spread
