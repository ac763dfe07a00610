"""The batched Muon against torch's Muon, and the orthogonal factor against a singular value decomposition."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from vlm4vla.config.training import Optimiser
from vlm4vla.training.components.muon import POLYNOMIALS, Muon, orthogonal

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


@pytest.mark.parametrize("number", [3, 5])
def test_orthogonal_keeps_the_singular_vectors(number):
    torch.manual_seed(1)
    matrices = torch.randn(3, 6, 12)
    found = orthogonal(matrices, POLYNOMIALS[number])
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    singular = left.mT @ found @ right.mT  # diagonal in the same basis
    assert (singular - torch.diag_embed(singular.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3
    assert singular.diagonal(dim1=1, dim2=2).min() > 0.6
    assert singular.diagonal(dim1=1, dim2=2).max() < 1.3


@pytest.mark.parametrize(("number", "lowest", "highest"), [(3, 0.72, 1.28), (5, 0.67, 1.22)])
@pytest.mark.parametrize("smallest", [0.03, 0.1, 1.0])
def test_singular_values_end_near_one(smallest, number, lowest, highest):
    torch.manual_seed(2)
    left, right = (torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0] for _ in range(2))
    values = torch.linspace(smallest, 1, 8, dtype=torch.float64)
    assert (values / values.norm()).min() > 0.01
    found = torch.linalg.svdvals(orthogonal(((left * values) @ right)[None], POLYNOMIALS[number]))
    assert found.min() > lowest and found.max() < highest


def test_each_polynomial_is_the_best_for_its_interval():
    """Against a linear program for the smallest largest error on a grid."""
    lowest, highest = 0.01, 1.0
    for polynomial in POLYNOMIALS[3]:
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


def test_the_number_of_polynomials_is_a_setting():
    settings = Optimiser(name="muon", learning_rate=0.001)
    assert "muon_polynomials" not in settings.model_dump()
    settings = Optimiser(name="muon", learning_rate=0.001, muon_polynomials=3)
    assert settings.model_dump()["muon_polynomials"] == 3
    gradient = torch.diag(torch.tensor([1.0, 0.5, 0.2, 0.1]))
    moved = []
    for number in POLYNOMIALS:
        own = nn.Parameter(torch.zeros(4, 4))
        own.grad = gradient.clone()
        Muon([own], lr=1.0, momentum=0.0, polynomials=number).step()
        moved.append(-own.detach() / 0.4)  # 0.2 times the root of 4
        assert torch.allclose(moved[-1], orthogonal(gradient[None], POLYNOMIALS[number])[0], atol=1e-6)
    assert not torch.allclose(*moved, atol=0.01)


def test_a_zero_gradient_moves_nothing():
    parameter = nn.Parameter(torch.ones(4, 6))
    parameter.grad = torch.zeros(4, 6)
    Muon([parameter], lr=0.1).step()
    assert torch.equal(parameter.detach(), torch.ones(4, 6))
