"""The matrix product equals the convolution that it replaces, in outputs and gradients."""

import copy

import torch
from torch import nn

from vlm4vla.backbones.kernels.patch_embedding import PatchConv2d, PatchConv3d, use_matrix_products


def check_equal(convolution, pixels):
    fast = copy.deepcopy(convolution)
    use_matrix_products(fast)
    assert type(fast) in (PatchConv2d, PatchConv3d)
    expected, got = convolution(pixels), fast(pixels)
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, rtol=0, atol=1e-5)
    weight = torch.randn(expected.shape)
    (expected * weight).sum().backward()
    (got * weight).sum().backward()
    for own, other in zip(fast.parameters(), convolution.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=0, atol=1e-4)


def test_two_dimensions():
    torch.manual_seed(0)
    check_equal(nn.Conv2d(3, 8, 4, stride=4), torch.randn(2, 3, 12, 8))
    check_equal(nn.Conv2d(3, 8, (4, 2), stride=(4, 2), bias=False), torch.randn(2, 3, 13, 7))


def test_three_dimensions():
    torch.manual_seed(0)
    check_equal(nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 4, 4), bias=False), torch.randn(5, 3, 2, 4, 4))


def test_overlapping_convolutions_are_not_replaced():
    convolution = nn.Conv2d(3, 8, 4, stride=2)
    use_matrix_products(convolution)
    assert type(convolution) is nn.Conv2d


def test_copies_use_their_own_weights():
    fast = nn.Conv2d(3, 8, 4, stride=4)
    use_matrix_products(fast)
    copied = copy.deepcopy(fast)
    with torch.no_grad():
        copied.weight.zero_()
        copied.bias.zero_()
    assert not copied(torch.ones(1, 3, 4, 4)).any()
