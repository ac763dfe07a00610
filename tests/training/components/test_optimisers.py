"""Which optimiser trains which weights, and one update against torch's optimisers."""

import pytest
import torch
from torch import nn

from vlm4vla.config.training import Optimiser
from vlm4vla.policies.heads.base import ActionHead
from vlm4vla.training.components.flat_parameters import FlatParameters
from vlm4vla.training.components.optimisers import (
    build_adamw,
    build_optimisers,
    set_rate,
    split_parameters,
)


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


def names(model, optimiser):
    return [[name for name, _ in part] for part in split_parameters(model, optimiser)]


def test_muon_trains_hidden_matrices_only():
    muon, decayed, plain = names(Model(), "muon")
    assert muon == ["hidden.weight", "patch.weight"]  # a patch convolution maps patches by a matrix
    assert sorted(decayed) == ["latent", "output.weight", "words.weight"]
    assert sorted(plain) == ["hidden.bias", "norm.bias", "norm.weight", "patch.bias"]


class Head(ActionHead):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(16, 32)

    loss = actions = None


def test_adamw_trains_an_action_head():
    model = Model()
    model.head = Head()
    muon, decayed, plain = names(model, "muon")
    assert muon == ["hidden.weight", "patch.weight"]
    assert "head.trunk.weight" in decayed and "head.trunk.bias" in plain


def test_adamw_trains_all_weights_that_are_not_frozen():
    model = Model()
    model.words.requires_grad_(False)
    muon, decayed, _ = names(model, "adamw")
    assert muon == [] and "hidden.weight" in decayed and "words.weight" not in decayed


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_one_update_equals_torch_on_single_parameters(name):
    """With the shared buffer, each parameter moves as with a torch optimiser for this parameter alone."""
    torch.manual_seed(0)
    model = Model()
    settings = Optimiser(name=name, learning_rate=0.01, muon_learning_rate=0.02, weight_decay=0.1)
    parts = split_parameters(model, name)
    expected = {}
    for part, kind, decay in zip(
        parts, (torch.optim.Muon, torch.optim.AdamW, torch.optim.AdamW), (0.1, 0.1, 0), strict=True
    ):
        for key, parameter in part:
            gradient = torch.ones_like(parameter) * torch.linspace(-1, 1, parameter.shape[-1])
            parameter.grad = gradient
            matrix = kind is torch.optim.Muon
            copy = nn.Parameter(
                parameter.detach().clone().flatten(1) if matrix else parameter.detach().clone()
            )
            copy.grad = gradient.clone().view_as(copy)
            options = (
                {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw"}
                if kind is torch.optim.Muon
                else {"lr": 0.01, "betas": (0.9, 0.95)}
            )
            if kind is torch.optim.Muon:
                options["momentum"] = 0.95
            optimiser = kind([copy], weight_decay=decay, **options)
            for group in optimiser.param_groups:
                group["lr"] *= 0.5
            optimiser.step()
            expected[key] = copy.detach().view_as(parameter)
    flat = FlatParameters(list(parts))
    optimisers = build_optimisers(flat.optimiser_parts(), settings)
    flat.gather_gradients()
    set_rate(optimisers, 0.5)
    for optimiser in optimisers:
        optimiser.step()
    for key, parameter in model.named_parameters():
        rounded = name == "muon" and key in ("hidden.weight", "patch.weight")
        bound = 2e-3 if rounded else 1e-6  # torch's Muon rounds to bfloat16
        torch.testing.assert_close(parameter.detach(), expected[key], atol=bound, rtol=0)


def test_gathering_clears_the_parameters_gradients():
    layer = nn.Linear(3, 2)
    flat = FlatParameters([[("weight", layer.weight)], [("bias", layer.bias)]])
    layer(torch.ones(1, 3)).sum().backward()
    flat.gather_gradients()
    assert layer.weight.grad is None and float(flat.weights.grad.sum()) == 8
    with torch.no_grad():
        flat.weights.zero_()
    assert not layer(torch.ones(1, 3)).any()  # the model sees the buffer


def test_empty_parts_make_no_group():
    weight = nn.Parameter(torch.ones(2, 2))
    settings = Optimiser(learning_rate=0.01, weight_decay=0.1)
    [group] = build_adamw([[], [weight]], settings, 0.5).param_groups
    assert group["params"] == [weight] and (group["weight_decay"], group["lr"]) == (0.0, 0.5)
    assert build_optimisers([[], [], []], settings) == []
