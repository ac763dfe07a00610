"""Text layers that compute no padding: a batch's sequences lie end to end in one, each attending to itself.

Attention is FlashAttention-2's over sequences of different lengths, as torch has it (on a CPU, one call a
sequence). For text that is plainly causal: a family whose picture tokens see each other needs a mask.

Not obvious:
- transformers hands the lengths to no attention but its own, so they are kept here, for the last batch. A
  layer that is computed again in the backward pass finds the same ones; one that is compiled takes the tensor
  as one of its inputs.
- Positions that nobody reads are left out of the last layer by their place in the one row
  (last_position.py), for which `last_positions` says where each sequence ends.
- torch's own function for sequences of different lengths (varlen_attn) drops no attention. Kosmos-2 does, a
  tenth of it; so the operator below that function is called.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
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


PIECE = 128  # what lengths are rounded up to, so that a compiled layer serves most batches

_present: _Lengths | None = None


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
    (1, N, heads, size). Raises RuntimeError outside of `packed`.

    Attention that is not causal is no text layer's (Kosmos-2's projector reads pictures under the text
    model's config) and is computed as it is: (B, heads, T, size).
    """
    if not module.is_causal:
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
        )
        return attended.transpose(1, 2), None
    if _present is None:
        raise RuntimeError("attention without padding needs a batch from backbones.padding_free.packed")
    if torch.is_autocast_enabled(query.device.type):
        lower = torch.get_autocast_dtype(query.device.type)
        query, key, value = (x.to(lower) for x in (query, key, value))
    attend = _on_cuda if query.device.type == "cuda" else _on_cpu
    return attend(query, key, value, _present.ends, _present.longest, scaling, dropout), None


def _on_cuda(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scaling: float, dropout: float
) -> Tensor:
    rows = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))  # (N, heads, size)
    return torch.ops.aten._flash_attention_forward(
        *rows, ends, ends, longest, longest, dropout, True, False, scale=scaling
    )[0][None]


@torch.compiler.disable  # `ends` are numbers of every batch
def _on_cpu(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scaling: float, dropout: float
) -> Tensor:
    attended = [
        nn.functional.scaled_dot_product_attention(
            *(x[:, :, start:stop] for x in (query, key, value)),
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=True,
        )
        for start, stop in itertools.pairwise(ends.tolist())
    ]
    return torch.cat(attended, dim=2).transpose(1, 2)


# Without a mask function of that name, transformers makes no mask.
AttentionInterface.register(NAME, padding_free_attention)


def is_padding_free(model: PreTrainedModel) -> bool:
    """Whether the model's text layers were switched to `padding_free_attention`."""
    return model.config.get_text_config()._attn_implementation == NAME


def last_positions() -> Tensor:
    """Where each sequence of the batch within `packed` ends in its row: (B,) indices."""
    if _present is None:
        raise RuntimeError("the last positions are those of a batch from backbones.padding_free.packed")
    return _present.ends[1:].long() - 1


def packed(
    read: Callable[..., Any],
    embeddings: Tensor,
    inputs: dict[str, Any],
    per_token: Sequence[str] = (),
) -> Tensor:
    """Hidden states (B, T, d), zero where there is padding, of embeddings (B, T, d).

    `read`: the model without its output layer, called with embeddings (1, N, d), positions (..., 1, N) and
    the other inputs; N tokens are real. `per_token`: names of the inputs (B, T) that become (1, N), beside
    attention_mask, which is left out, and position_ids.
    """
    global _present
    rest = dict(inputs)
    real = rest.pop("attention_mask").bool()
    ends = nn.functional.pad(real.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    _present = _Lengths(ends, -(-real.shape[1] // PIECE) * PIECE)
    # One look for the real tokens: on a GPU each waits for all that was asked of it before.
    places = real.flatten().nonzero().squeeze(1)
    rest |= {name: rest[name].flatten()[places][None] for name in per_token}
    rest["position_ids"] = rest["position_ids"].flatten(-2)[..., places].unsqueeze(-2)
    rest["inputs_embeds"] = embeddings.flatten(0, 1)[places][None]
    states = read(use_cache=False, **rest).last_hidden_state
    spread = states.new_zeros(real.numel(), states.shape[-1]).index_copy(0, places, states[0])
    return spread.unflatten(0, real.shape)
