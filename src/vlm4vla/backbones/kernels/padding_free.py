"""Text layers without padding: the sequences of a batch are packed into one row, and each attends to itself.

Attention is torch's FlashAttention-2 for sequences of different lengths; on a CPU, it is one call for each
sequence. It works only for causal text: a family whose image tokens attend to each other needs a mask.

Not obvious:
- transformers passes the lengths only to its own attention functions, so this module keeps the lengths of the
  latest batch. A layer that is recomputed in the backward pass finds the same lengths. A compiled layer takes
  the tensor of lengths as an input.
- The last layer is computed only where something reads it (last_position.py). `last_positions` returns where
  each sequence ends in the row.
- torch's own function for sequences of different lengths (varlen_attn) has no dropout. Kosmos-2 has attention
  dropout of 0.1, so this module calls the operator underneath that function.
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
    ends: Tensor  # (sequences + 1,) int32: the start of each sequence, and the end of the last one
    longest: int  # an upper bound on the length of the longest sequence


LENGTH_STEP = 128  # `longest` is rounded up to a multiple, so that a compiled layer fits most batches

_current: _Lengths | None = None


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
    """Attention of each packed sequence to itself; returns (1, N, heads, size).

    `query`: (1, heads, N, size). `key`, `value`: the same with as many heads or fewer. Raises RuntimeError
    outside `run_packed`. Attention that is not causal does not belong to a text layer and is computed as
    usual, on (B, heads, T, size): Kosmos-2's projector reads images, but uses the text model's config.
    """
    if not module.is_causal:
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
        )
        return attended.transpose(1, 2), None
    if _current is None:
        raise RuntimeError("padding-free attention works only within kernels.padding_free.run_packed")
    if torch.is_autocast_enabled(query.device.type):
        lower = torch.get_autocast_dtype(query.device.type)
        query, key, value = (x.to(lower) for x in (query, key, value))
    attend = _attend_on_cuda if query.device.type == "cuda" else _attend_on_cpu
    return attend(query, key, value, _current.ends, _current.longest, scaling, dropout), None


def _attend_on_cuda(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scaling: float, dropout: float
) -> Tensor:
    rows = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))  # (N, heads, size)
    return torch.ops.aten._flash_attention_forward(
        *rows, ends, ends, longest, longest, dropout, True, False, scale=scaling
    )[0][None]


@torch.compiler.disable  # the values of `ends` differ in every batch
def _attend_on_cpu(
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


# transformers builds no mask, because no mask function is registered under this name.
AttentionInterface.register(NAME, padding_free_attention)


def is_padding_free(model: PreTrainedModel) -> bool:
    """Whether the model's text layers were switched to `padding_free_attention`."""
    return model.config.get_text_config()._attn_implementation == NAME


def last_positions() -> Tensor:
    """The index of each sequence's last token in the row of the current `run_packed` batch: (B,)."""
    if _current is None:
        raise RuntimeError("last_positions works only within kernels.padding_free.run_packed")
    return _current.ends[1:].long() - 1


def run_packed(
    model: Callable[..., Any],
    embeddings: Tensor,
    inputs: dict[str, Any],
    per_token: Sequence[str] = (),
) -> Tensor:
    """Run `model` without padding on embeddings (B, T, d); return hidden states (B, T, d), zero at padding.

    `model`: the model without its output layer. It is called with embeddings (1, N, d), position_ids (..., 1,
    N) and the other inputs, but without attention_mask; N is the number of real tokens. `per_token`: the
    names of further inputs (B, T) that must become (1, N).
    """
    global _current
    rest = dict(inputs)
    real = rest.pop("attention_mask").bool()
    ends = nn.functional.pad(real.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    _current = _Lengths(ends, -(-real.shape[1] // LENGTH_STEP) * LENGTH_STEP)
    # Call nonzero only once: on a GPU it waits for all work submitted before.
    indices = real.flatten().nonzero().squeeze(1)
    rest |= {name: rest[name].flatten()[indices][None] for name in per_token}
    rest["position_ids"] = rest["position_ids"].flatten(-2)[..., indices].unsqueeze(-2)
    rest["inputs_embeds"] = embeddings.flatten(0, 1)[indices][None]
    states = model(use_cache=False, **rest).last_hidden_state
    padded = states.new_zeros(real.numel(), states.shape[-1]).index_copy(0, indices, states[0])
    return padded.unflatten(0, real.shape)
