"""The batched Muon against torch's Muon, and the orthogonal factor against a singular value decomposition."""

import torch
from torch import nn

from vlm4vla.training.components.muon import Muon, orthogonal

SHAPES = [(16, 8), (8, 16), (8, 8), (16, 8), (4, 4)]


def test_muon_follows_torch():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    reference = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    pair = (
        Muon(ours, lr=0.02, momentum=0.9, weight_decay=0.1),
        torch.optim.Muon(reference, lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    start = [parameter.detach().clone() for parameter in ours]
    for _ in range(6):
        for own, other in zip(ours, reference, strict=True):
            own.grad = torch.randn_like(own)
            other.grad = own.grad.clone()
        for optimiser in pair:
            optimiser.step()
    for own, other, first in zip(ours, reference, start, strict=True):
        moved = (other - first).norm()
        assert (own - other).norm() < 0.03 * moved  # torch rounds to bfloat16 internally


def test_orthogonal_keeps_the_singular_vectors():
    torch.manual_seed(1)
    matrices = torch.randn(3, 6, 12)
    found = orthogonal(matrices)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    singular = left.mT @ found @ right.mT  # diagonal in the same basis
    assert (singular - torch.diag_embed(singular.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3
    assert singular.diagonal(dim1=1, dim2=2).min() > 0.6
    assert singular.diagonal(dim1=1, dim2=2).max() < 1.3


def test_a_zero_gradient_moves_nothing():
    parameter = nn.Parameter(torch.ones(4, 6))
    parameter.grad = torch.zeros(4, 6)
    Muon([parameter], lr=0.1).step()
    assert torch.equal(parameter.detach(), torch.ones(4, 6))
