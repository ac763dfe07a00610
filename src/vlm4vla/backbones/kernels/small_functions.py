"""Attention with its queries, keys and values as one autograd function, for small tensors on a CPU.

A small model spends more time in element-wise operations and in their dispatch than in matrix products. The
function has a backward pass of its own, which takes fewer operations than the graph of autograd. The results
equal those of PyTorch up to rounding. RMSNorm, gated MLPs and GELU, written in the same way, each saved less
than 2 % of a step on average, and are left to transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def _normalise(rows: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Rows (N, d) divided by the root of their mean square plus `eps`, and the factor (N, 1) of each row."""
    size = rows.shape[1]
    squares = torch.mv(rows * rows, rows.new_full((size,), 1 / size))
    factors = squares.add_(eps).rsqrt_().unsqueeze(1)
    return rows * factors, factors


def _normalise_backward(
    gradient: Tensor, normed: Tensor, factors: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of the rows and of `scale` (size,), from that of `normed * scale` in any shape."""
    rows = gradient.reshape(normed.shape)
    products = rows * normed
    along = torch.mv(products, scale / scale.numel()).unsqueeze(1)
    to_rows = (rows * scale).addcmul_(normed, along, value=-1).mul_(factors)
    return to_rows.view(gradient.shape), products.sum(0)


@dataclass
class AttentionShape:
    """What `SelfAttention` needs besides tensors.

    `heads` of queries; `groups`, the heads of keys and values, as many or a divisor; `scale` of the scores;
    `softcap` on the scores or None; `eps` of the norms; `only_last`: only the last position asks.
    """

    heads: int
    groups: int
    scale: float
    softcap: float | None = None
    eps: float = 0.0
    only_last: bool = False


class SelfAttention(Function):
    """Queries, keys and values of `x` (B, T, d), and the attention between them, without the output layer.

    `weight`, `bias`: of queries (heads * size, d), then keys, then values (groups * size, d), (out,) or None.
    The first pair may hold all three, one below the other; then the others are None. `query_scale` and
    `key_scale` (size,): of norms over each head, or None. `cos`, `sin` (B or 1, T, size): rotary positions in
    the layout of transformers (two halves), or None. `mask` (B or 1, 1, T, T): None, or added to the scores.

    Returns (B, T, heads * size), or (B, 1, heads * size) with `only_last`, and the keys and values, both (B,
    groups, T, size).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        query_weight: Tensor,
        query_bias: Tensor | None,
        key_weight: Tensor | None,
        key_bias: Tensor | None,
        value_weight: Tensor | None,
        value_bias: Tensor | None,
        query_scale: Tensor | None,
        key_scale: Tensor | None,
        cos: Tensor | None,
        sin: Tensor | None,
        mask: Tensor | None,
        shape: AttentionShape,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, tokens, _ = x.shape
        heads, groups = shape.heads, shape.groups
        parts = [each for each in (query_weight, key_weight, value_weight) if each is not None]
        weight = torch.cat(parts) if len(parts) > 1 else query_weight
        biases = [each for each in (query_bias, key_bias, value_bias) if each is not None]
        bias = torch.cat(biases) if len(biases) > 1 else query_bias
        size = weight.shape[0] // (heads + 2 * groups)
        rows = x.reshape(batch * tokens, -1)
        linear, split = nn.functional.linear, heads * size
        if shape.only_last:
            queries = 1
            query_bias, rest_bias = (None, None) if bias is None else (bias[:split], bias[split:])
            q = linear(x[:, -1], weight[:split], query_bias).view(batch, heads, 1, size)
            projected = linear(rows, weight[split:], rest_bias).view(batch, tokens, -1, size)
            k, v = projected.transpose(1, 2).split([groups, groups], dim=1)
        else:
            queries = tokens
            projected = linear(rows, weight, bias).view(batch, tokens, -1, size)
            q, k, v = projected.transpose(1, 2).split([heads, groups, groups], dim=1)
        norms: list[Tensor | None] = [None] * 4
        if query_scale is not None:
            normed, factors = _normalise(q.reshape(-1, size), shape.eps)
            q, norms[:2] = (normed * query_scale).view(batch, heads, queries, size), (normed, factors)
            normed, factors = _normalise(k.reshape(-1, size), shape.eps)
            k, norms[2:] = (normed * key_scale).view(batch, groups, tokens, size), (normed, factors)
        signed = None
        if cos is not None:
            half = size // 2
            signed = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1).unsqueeze(1)
            cos = cos.unsqueeze(1)
            q = _rotated(q, cos[:, :, -queries:], signed[:, :, -queries:])
            k = _rotated(k, cos, signed)
        keys, values = k.contiguous(), v.contiguous()
        # Query heads that share a key head follow each other, so they are further rows of one product.
        q = q.reshape(batch * groups, -1, size)
        k, v = keys.view(batch * groups, tokens, size), values.view(batch * groups, tokens, size)
        if shape.softcap is None:
            q = q * shape.scale  # of all the tensors, the smallest
        scores = torch.bmm(q, k.mT)
        capped = None
        if shape.softcap is not None:
            capped = scores.mul_(shape.scale / shape.softcap).tanh_()
            scores = capped * shape.softcap
        if mask is not None:
            # In place and broadcast: the mask of all heads would be as large as the scores.
            scores.view(batch, heads, queries, tokens).add_(mask[:, :, -queries:])
        weights = scores.softmax(-1)
        attended = torch.bmm(weights, v).view(batch, heads, queries, size)
        ctx.save_for_backward(
            x, weight, q, k, v, weights, capped, cos, signed, query_scale, key_scale, *norms
        )
        ctx.shape, ctx.one_weight = shape, key_weight is None
        ctx.set_materialize_grads(False)
        return attended.transpose(1, 2).reshape(batch, queries, -1), keys, values

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, more_to_keys: Tensor | None, more_to_values: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, weight, q, k, v, weights, capped, cos, signed, query_scale, key_scale, *norms = ctx.saved_tensors
        shape, needs = ctx.shape, ctx.needs_input_grad
        needs_weight, needs_bias = any(needs[1:7:2]), any(needs[2:7:2])
        (batch, tokens), size = x.shape[:2], q.shape[-1]
        heads, groups = shape.heads, shape.groups
        queries = q.shape[1] * groups // heads
        if gradient is None:  # only the keys and values are read
            gradient = q.new_zeros(batch, queries, heads * size)
        g = gradient.view(batch, queries, heads, size).transpose(1, 2).reshape(batch * groups, -1, size)
        to_v = torch.bmm(weights.mT, g).view(batch, groups, tokens, size)
        to_scores = torch._softmax_backward_data(torch.bmm(g, v.mT), weights, -1, weights.dtype)
        if capped is not None:
            to_scores.addcmul_(to_scores * capped, capped, value=-1)
        if capped is not None:
            to_scores.mul_(shape.scale)  # otherwise the factor is in `q`
        to_q = torch.bmm(to_scores, k)
        if capped is None:
            to_q.mul_(shape.scale)
        to_q = to_q.view(batch, heads, queries, size)
        to_k = torch.bmm(to_scores.mT, q).view(batch, groups, tokens, size)
        if more_to_keys is not None:
            to_k = to_k + more_to_keys
        if more_to_values is not None:
            to_v = to_v + more_to_values
        if cos is not None:
            back = signed.roll(size // 2, -1)  # rolling by half a row is its own inverse
            to_q = _rotated(to_q, cos[:, :, -queries:], back[:, :, -queries:])
            to_k = _rotated(to_k, cos, back)
        to_scales: list[Tensor | None] = [None, None]
        if query_scale is not None:
            to_q, to_scales[0] = _normalise_backward(to_q, norms[0], norms[1], query_scale)
            to_k, to_scales[1] = _normalise_backward(to_k, norms[2], norms[3], key_scale)
        rows, split = x.reshape(batch * tokens, -1), heads * size
        to_parts = [each.transpose(1, 2) for each in (to_q, to_k, to_v)]
        to_x = None
        if shape.only_last:
            to_last = to_parts[0].reshape(batch, -1)
            to_rest = torch.cat(to_parts[1:], dim=2).view(batch * tokens, -1)
            if needs[0]:
                to_x = (to_rest @ weight[split:]).view(x.shape)
                to_x[:, -1] += to_last @ weight[:split]
            to_weight = torch.cat([to_last.T @ x[:, -1], to_rest.T @ rows]) if needs_weight else None
            to_bias = torch.cat([to_last.sum(0), to_rest.sum(0)]) if needs_bias else None
        else:
            to_all = torch.cat(to_parts, dim=2).view(batch * tokens, -1)
            to_x = (to_all @ weight).view(x.shape) if needs[0] else None
            to_weight = to_all.T @ rows if needs_weight else None
            to_bias = to_all.sum(0) if needs_bias else None
        sizes = [weight.shape[0]] if ctx.one_weight else [split, groups * size, groups * size]
        to_weights, to_biases = (
            [None] * 3 if each is None else [*each.split(sizes), None, None][:3]
            for each in (to_weight, to_bias)
        )
        interleaved = [each for pair in zip(to_weights, to_biases, strict=True) for each in pair]
        return to_x, *interleaved, *to_scales, None, None, None, None


def _rotated(x: Tensor, cos: Tensor, signed: Tensor) -> Tensor:
    x = x.contiguous()
    return x.roll(x.shape[-1] // 2, -1).mul_(signed).addcmul_(x, cos)
