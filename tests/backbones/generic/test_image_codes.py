"""Models that turn images into codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone

SIDE = 64


def make(model_type):
    settings = Backbone(family=model_type, parameters_b=1, tiny={}, pretraining="broad")
    return build(settings, model_type, ["drawer"], SIDE, 0)


def batch_of(backbone, count):
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return backbone.batch([list(backbone.prompt_ids("open the drawer"))] * count, images)


def query(backbone):
    width = backbone.word_embedding()(torch.tensor([[backbone.end_id]])).shape[-1]
    return torch.linspace(-1, 1, width)


@pytest.mark.parametrize("model_type", ["chameleon", "emu3"])
def test_an_image_has_the_same_codes_in_training(model_type):
    backbone = make(model_type)
    before = {name: each.clone() for name, each in backbone.model.named_buffers()}
    backbone.model.train()
    backbone.hidden(batch_of(backbone, 2), query(backbone))
    assert not any(part.training for part in backbone.vision_encoder())
    after = dict(backbone.model.named_buffers())
    assert all(torch.equal(after[name], each) for name, each in before.items())


@pytest.mark.parametrize("model_type", ["chameleon", "emu3"])
def test_the_states_are_not_overwritten_and_have_a_gradient(model_type):
    backbone = make(model_type)
    states = backbone.adapter.hidden_states(backbone.model, batch_of(backbone, 1))
    assert states.abs().max() < 1e3  # the model writes the least number of a float where codes are forbidden
    states.sum().backward()
    assert backbone.word_embedding().weight.grad.abs().sum() > 0


def test_an_answer_of_chameleon_stands_behind_the_separator():
    backbone = make("chameleon")
    assert backbone.prompt_ids("open the drawer")[-1] == backbone.adapter.tokenizer.sep_token_id
