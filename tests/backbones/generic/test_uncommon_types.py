"""Model types that need something of their own."""

from __future__ import annotations

import pytest
import torch

from vlm4vla.backbones import build
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.family import NUMBERS_IMAGES
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.core.errors import UserError


def make(model_type: str):
    settings = Backbone(family=model_type, parameters_b=1, tiny={}, pretraining="broad")
    return build(settings, "mine", ["open", "the", "drawer", "bowl"], 64, 0)


def batch(backbone, texts: list[str], seeds: list[int]):
    images = torch.cat([torch.from_numpy(layouts.random_images(1, 64, seed)) for seed in seeds])
    return backbone.batch([list(backbone.prompt_ids(text)) for text in texts], images)


@torch.no_grad()
def states(backbone, texts: list[str], seeds: list[int]) -> torch.Tensor:
    width = backbone.hidden_size
    return backbone.hidden(batch(backbone, texts, seeds), torch.linspace(-1, 1, width)).float()


def test_a_sample_does_not_depend_on_the_images_before_it():
    assert "hunyuan_vl" in NUMBERS_IMAGES
    backbone = make("hunyuan_vl")
    both = states(backbone, ["open the bowl", "open the drawer"], [1, 2])
    alone = states(backbone, ["open the drawer"], [2])
    torch.testing.assert_close(both[1], alone[0], atol=1e-5, rtol=0)


def test_both_vision_encoders_are_vision():
    backbone = make("deepseek_vl_hybrid")
    model = backbone.model.model
    assert backbone.vision_encoder() == [model.vision_model, model.high_res_vision_model]


@pytest.mark.parametrize("model_type", ["llava", "diffusion_gemma"])
def test_pixels_have_the_type_of_the_weights(model_type):
    backbone = make(model_type)
    backbone.model.bfloat16()
    assert states(backbone, ["open the drawer"], [1]).isfinite().all()


def test_a_canvas_of_one_word_reads_the_prompt():
    backbone = make("diffusion_gemma")
    one, image, text = states(backbone, ["open the drawer"] * 2 + ["open the bowl"], [1, 2, 1])
    assert not torch.allclose(one, image, atol=1e-4) and not torch.allclose(one, text, atol=1e-4)


def test_a_model_of_texts_alone_is_refused():
    with pytest.raises(UserError, match="the model type 'mistral4' reads no images: write a checkpoint of"):
        build_twin("mistral4", TinySize(), ["drawer"], 64, 0)
