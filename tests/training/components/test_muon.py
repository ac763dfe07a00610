"""The batched Muon against torch's Muon, and the orthogonal factor against a singular value decomposition."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from vlm4vla.training.components import muon
from vlm4vla.training.components.muon import POLYNOMIALS, Muon, orthogonal

SHAPES = [(16, 8), (8, 16), (8, 8), (16, 8), (4, 4)]


def test_muon_follows_torch(monkeypatch):
    monkeypatch.setattr(muon, "POLYNOMIALS", ((3.4445, -4.7750, 2.0315),) * 5)  # torch's own
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


@pytest.mark.parametrize("smallest", [0.03, 0.1, 1.0])
def test_singular_values_end_near_one(smallest):
    torch.manual_seed(2)
    left, right = (torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0] for _ in range(2))
    values = torch.linspace(smallest, 1, 8, dtype=torch.float64)
    assert (values / values.norm()).min() > 0.01
    found = torch.linalg.svdvals(orthogonal(((left * values) @ right)[None]))
    assert found.min() > 0.72 and found.max() < 1.28


def test_each_polynomial_is_the_best_for_its_interval():
    """Against a linear program for the smallest largest error on a grid."""
    lowest, highest = 0.01, 1.0
    for polynomial in POLYNOMIALS:
        x = np.concatenate([np.geomspace(lowest, highest, 1000), np.linspace(lowest, highest, 1000)])
        powers, one = np.stack([x, x**3, x**5], 1), np.ones((len(x), 1))
        bounds = [(None, None)] * 3 + [(0, None)]
        best = linprog(
            [0, 0, 0, 1],
            A_ub=np.block([[powers, -one], [-powers, -one]]),
            b_ub=np.concatenate([one, -one]),
            bounds=bounds,
        )
        assert np.allclose(best.x[:3], polynomial, atol=0.02)
        lowest, highest = 1 - best.x[3], 1 + best.x[3]
    assert (lowest, highest) == (pytest.approx(0.731, abs=0.002), pytest.approx(1.269, abs=0.002))


def test_a_zero_gradient_moves_nothing():
    parameter = nn.Parameter(torch.ones(4, 6))
    parameter.grad = torch.zeros(4, 6)
    Muon([parameter], lr=0.1).step()
    assert torch.equal(parameter.detach(), torch.ones(4, 6))
