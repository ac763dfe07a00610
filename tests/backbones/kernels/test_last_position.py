"""Modules compute one position inside the context manager and all positions after it, even after an error."""

import pytest
import torch
from torch import nn

from vlm4vla.backbones.kernels.last_position import last_position_only


def test_restriction_ends_with_the_context():
    module = nn.Linear(3, 2)
    states = torch.randn(4, 5, 3)
    whole = module(states)
    with last_position_only([module]):
        cut = module(states)
    assert torch.allclose(cut, whole[:, -1:], rtol=0, atol=1e-6)
    assert module(states).shape == whole.shape


def test_an_error_restores_the_module():
    module = nn.Linear(3, 2)
    with pytest.raises(RuntimeError), last_position_only([module]):
        raise RuntimeError
    assert module(torch.zeros(1, 5, 3)).shape == (1, 5, 2)


def test_every_family_computes_its_last_layer_at_one_position(backbone, images, instructions):
    """The last layer computes its output for one position only; without `hidden`, for all positions."""
    lengths = []
    modules = backbone.adapter.last_layer(backbone.model)
    hooks = [m.register_forward_hook(lambda _, __, output: lengths.append(output.shape[1])) for m in modules]
    ids = [backbone.prompt_ids(text) for text in instructions]
    batch = backbone.batch(ids, images)
    with torch.no_grad():
        backbone.hidden(batch, torch.ones(backbone.hidden_size))
        assert lengths == [1, 1, 1]
        backbone.model(**batch)
    for hook in hooks:
        hook.remove()
    assert lengths[3:] == [max(map(len, ids))] * 3
