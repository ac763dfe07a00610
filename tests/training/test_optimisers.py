"""Which optimiser moves what, and Muon's update."""

import torch
from torch import nn

from vlm4vla.config import Optimiser
from vlm4vla.training.optimisers import build_optimisers, set_rate, split_parameters


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.hidden = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.patch = nn.Conv2d(3, 4, 2)
        self.output = nn.Linear(16, 10, bias=False)
        self.latent = nn.Parameter(torch.zeros(2, 8))

    def get_output_embeddings(self):
        return self.output


def test_muon_takes_hidden_matrices_only():
    matrices, rest = split_parameters(Model())
    assert [name for name, _ in matrices] == ["hidden.weight"]
    assert {name for name, _ in rest} >= {
        "words.weight",
        "output.weight",
        "patch.weight",
        "latent",
        "hidden.bias",
    }


def test_frozen_weights_are_left_out():
    model = Model()
    model.words.requires_grad_(False)
    assert "words.weight" not in [name for part in split_parameters(model) for name, _ in part]


def test_muon_update_is_orthogonal_with_the_scaled_rate():
    torch.manual_seed(0)
    layer = nn.Linear(16, 8, bias=False)
    optimiser = build_optimisers(layer, Optimiser(name="muon", learning_rate=1e-3, muon_learning_rate=0.01))[
        0
    ]
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(8, 16)
    set_rate([optimiser], 0.5)
    optimiser.step()
    step = (before - layer.weight.detach()) / (0.01 * 0.5 * 0.2 * 16**0.5)
    singular = torch.linalg.svdvals(step)  # Newton-Schulz of five rounds brings them near 1, not to 1
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_decay_spares_vectors():
    model = Model()
    for optimiser in build_optimisers(model, Optimiser(learning_rate=1.0, weight_decay=0.5)):
        for group in optimiser.param_groups:
            dimensions = {parameter.ndim >= 2 for parameter in group["params"]}
            assert dimensions == {group["weight_decay"] > 0}
