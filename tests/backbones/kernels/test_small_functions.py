"""Attention of small models equals that of PyTorch's own layers; its gradients equal finite differences."""

import pytest
import torch
from torch import nn

from vlm4vla.backbones.kernels.small_functions import AttentionShape, SelfAttention


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def plain_attention(x, weights, biases, scales, cos, sin, mask, shape):
    """The same by PyTorch's own functions: (B, T, heads * size), keys, values."""
    states = [nn.functional.linear(x, *pair) for pair in zip(weights, biases, strict=True)]
    size = weights[0].shape[0] // shape.heads
    q, k, v = (each.unflatten(-1, (-1, size)).transpose(1, 2) for each in states)
    if scales[0] is not None:
        q, k = (
            nn.functional.rms_norm(each, (size,), scale, shape.eps)
            for each, scale in zip((q, k), scales, strict=True)
        )
    if cos is not None:

        def turned(each):
            first, second = each.chunk(2, dim=-1)
            return each * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]

        q, k = turned(q), turned(k)
    repeats = shape.heads // shape.groups
    scores = q @ k.repeat_interleave(repeats, 1).mT * shape.scale
    if shape.softcap is not None:
        scores = shape.softcap * torch.tanh(scores / shape.softcap)
    scores = scores if mask is None else scores + mask
    attended = scores.softmax(-1) @ v.repeat_interleave(repeats, 1)
    return attended.transpose(1, 2).flatten(2), k, v


@pytest.mark.parametrize("only_last", [False, True])
@pytest.mark.parametrize(
    ("groups", "has_bias", "has_norms", "has_positions", "softcap"),
    [
        (4, True, False, False, None),
        (2, True, False, True, None),
        (4, False, True, True, None),
        (1, False, False, True, 2.0),
    ],
)
def test_self_attention(only_last, groups, has_bias, has_norms, has_positions, softcap):
    heads, size, width, batch, tokens = 4, 4, 6, 2, 3
    shape = AttentionShape(heads, groups, scale=0.4, softcap=softcap, eps=1e-3, only_last=only_last)
    x = random(batch, tokens, width)
    rows = [heads * size, groups * size, groups * size]
    weights = [random(each, width, seed=seed) for seed, each in enumerate(rows)]
    biases = [random(each, seed=9 + seed) if has_bias else None for seed, each in enumerate(rows)]
    scales = [random(size, seed=20), random(size, seed=21)] if has_norms else [None, None]
    angles = random(batch, tokens, size, seed=30).detach()
    cos, sin = (angles.cos(), angles.sin()) if has_positions else (None, None)
    mask = torch.full((tokens, tokens), -50.0, dtype=torch.float64).triu(1).expand(batch, 1, -1, -1)
    linears = [each for pair in zip(weights, biases, strict=True) for each in pair]

    def ours(x, *given):
        return SelfAttention.apply(x, *given[:6], *given[6:], cos, sin, mask, shape)

    expected = plain_attention(x, weights, biases, scales, cos, sin, mask, shape)
    if only_last:
        expected = (expected[0][:, -1:], *expected[1:])
    for own, other in zip(ours(x, *linears, *scales), expected, strict=True):
        assert torch.allclose(own, other, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(ours, (x, *linears, *scales))
    # Only the keys are read: no gradient reaches the other outputs.
    keys_only = [torch.autograd.grad(each[1].sum(), x)[0] for each in (ours(x, *linears, *scales), expected)]
    assert torch.allclose(*keys_only, rtol=0, atol=1e-12)


def test_one_stacked_weight_equals_three():
    shape = AttentionShape(2, 2, scale=0.4)
    x, weight, bias = random(2, 3, 6), random(24, 6), random(24)
    parts = [each for pair in zip(weight.chunk(3), bias.chunk(3), strict=True) for each in pair]
    stacked = SelfAttention.apply(x, weight, bias, *[None] * 9, shape)[0]
    separate = SelfAttention.apply(x, *parts, *[None] * 5, shape)[0]
    assert torch.equal(stacked, separate)
    for own, other in zip(
        *(torch.autograd.grad(each.square().sum(), (x, weight, bias)) for each in (stacked, separate)),
        strict=True,
    ):
        assert torch.allclose(own, other, rtol=0, atol=1e-12)


def test_frozen_weights_get_no_gradient():
    shape = AttentionShape(2, 2, scale=0.4)
    x, weight, bias = random(2, 3, 6), random(24, 6).detach(), random(24).detach()
    SelfAttention.apply(x, weight, bias, *[None] * 9, shape)[0].sum().backward()
    assert x.grad is not None and weight.grad is None and bias.grad is None
