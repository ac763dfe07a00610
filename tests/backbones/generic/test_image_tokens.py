"""Which image tokens show which part of an image, found by changing it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone
from vlm4vla.core.errors import UserError

GRID, SIDE = 8, 64


def make(model_type):
    settings = Backbone(family=model_type, parameters_b=1, tiny={}, pretraining="broad")
    return build(settings, model_type, ["drawer"], SIDE, 0)


def row_by_row(side):
    """The tokens of a square image of side x side tokens, for cells of GRID x GRID."""
    share = GRID // side
    return [[row // share * side + column // share] for row in range(GRID) for column in range(GRID)]


@pytest.mark.parametrize(
    ("model_type", "side"), [("gemma3", 4), ("gemma4", 8), ("glm46v", 4), ("idefics3", 4), ("qwen3_5", 4)]
)
def test_tokens_are_in_rows(model_type, side):
    backbone = make(model_type)
    assert backbone.adapter.image_patches(backbone.model) == side**2
    assert backbone.adapter.tokens_of_cells(backbone.model, GRID) == row_by_row(side)


def test_an_image_and_its_tile_with_ends_of_lines():
    backbone = make("llava_onevision")
    tile = [[16 + token + token // 4] for (token,) in row_by_row(4)]  # one more token after each row of four
    whole = [first + second for first, second in zip(row_by_row(4), tile, strict=True)]
    assert backbone.adapter.image_patches(backbone.model) == 36
    assert backbone.adapter.tokens_of_cells(backbone.model, GRID) == whole


def test_tokens_that_show_no_place_are_refused():
    backbone = make("idefics2")  # a resampler, with as many tokens as it has queries
    with pytest.raises(UserError, match=r"show no places of the image: write `pretraining.alignment: null`"):
        backbone.adapter.tokens_of_cells(backbone.model, GRID)


def test_a_model_without_image_tokens_is_refused():
    backbone = make("mllama")
    with pytest.raises(UserError, match="no method that gives the image tokens of 'mllama' alone"):
        backbone.adapter.tokens_of_cells(backbone.model, GRID)


@pytest.mark.parametrize("model_type", ["gemma3", "qwen3_5", "llava_onevision"])
def test_the_kept_tokens_are_those_of_the_forward_pass(model_type):
    backbone = make(model_type)
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    batch = backbone.batch([list(backbone.prompt_ids(text)) for text in ("open", "open the drawer")], images)
    adapter, model = backbone.adapter, backbone.model
    with torch.no_grad():
        with adapter.image_states_kept(model) as read:
            adapter.hidden_states(model, batch)
        with adapter.image_states_kept(model) as alone:
            adapter.see(model, backbone.encode_images(images))
    assert len(read) == len(alone) == 1
    assert read[0].numel() == 2 * adapter.image_patches(model) * backbone.hidden_size
    torch.testing.assert_close(alone[0], read[0], atol=1e-6, rtol=1e-6)
    assert "get_image_features" not in vars(model.base_model)
