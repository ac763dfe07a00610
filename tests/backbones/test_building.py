"""Tiny backbones: real classes, reproducible weights, clear errors, and the order of their sizes."""

from pathlib import Path

import pytest
import torch
from fast_yaml import load_yaml
from tiny_backbones import SIZE, WORDS, make

from vlm4vla.backbones import build, load
from vlm4vla.backbones.lookup import adapter_class, adapter_class_of
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError

CONFIG = Path(__file__).parents[2] / "config.yaml"

CLASSES = {
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "qwen3_vl_moe": "Qwen3VLMoeForConditionalGeneration",
    "paligemma": "PaliGemmaForConditionalGeneration",
    "paligemma2": "PaliGemmaForConditionalGeneration",
    "kosmos-2": "Kosmos2ForConditionalGeneration",
    "internvl": "InternVLForConditionalGeneration",
}


def test_real_class_and_sixteen_image_tokens(backbone, family):
    assert type(backbone.model).__name__ == CLASSES[family]
    assert type(backbone.model).__module__.startswith("transformers.")
    assert backbone.adapter.image_tokens == 16
    assert adapter_class_of(backbone.model.config, "test") is adapter_class(family)


def test_paligemma_generations_differ_in_text_model():
    texts = {
        family: build(
            Backbone(family=family, parameters_b=1, tiny=SIZE, pretraining="any"), "any", WORDS, 64, 0
        ).model.config.text_config.model_type
        for family in ("paligemma", "paligemma2")
    }
    assert texts == {"paligemma": "gemma", "paligemma2": "gemma2"}


def test_seed_decides_the_weights(fresh):
    first, again, other = fresh(3), fresh(3), fresh(4)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    )
    assert not torch.equal(first.word_embedding().weight, other.word_embedding().weight)


def test_building_leaves_the_random_state_alone(fresh):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    fresh()
    assert torch.equal(torch.rand(1), expected)


def test_no_dropout(backbone):
    """Training and evaluation mode give the same result, so resuming needs no random state of layers."""
    import numpy as np

    image = np.full((1, 64, 64, 3), 90, dtype=np.uint8)
    batch = backbone.batch([backbone.prompt_ids("pick up the block")], image)
    query = torch.ones(backbone.hidden_size)
    with torch.no_grad():
        backbone.model.train()
        training = backbone.hidden(batch, query)
        backbone.model.eval()
        assert torch.equal(training, backbone.hidden(batch, query))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 40}, "tiny.hidden: 40 must be a multiple of 8 times heads"),
        ({"vision_hidden": 24}, "tiny.vision_hidden: 24"),
        ({"experts": 0, "experts_per_token": 0}, "tiny.experts_per_token: 0 of 0 experts"),
    ],
)
def test_impossible_widths_are_named(changes, message):
    size = TinySize(**SIZE.model_dump() | changes)
    settings = Backbone(family="qwen3_vl_moe", parameters_b=1, tiny=size, pretraining="any")
    with pytest.raises(UserError, match=message):
        build(settings, "mine", WORDS, 64, 0)


def test_unknown_family_suggests_a_known_one():
    settings = Backbone(family="paligema", parameters_b=1, tiny=SIZE, pretraining="any")
    with pytest.raises(UserError, match=r"unknown family 'paligema': did you mean 'paligemma'\?"):
        build(settings, "mine", WORDS, 64, 0)


def test_image_size_must_hold_whole_patches():
    settings = Backbone(family="paligemma", parameters_b=1, tiny=SIZE, pretraining="any")
    with pytest.raises(UserError, match="image_size: 60 must be a multiple of 16"):
        build(settings, "mine", WORDS, 60, 0)


@pytest.mark.parametrize("words", [100, 400])
def test_parameter_counts_are_in_the_order_of_the_real_sizes(words):
    """The study's tiny backbones keep the order of the real models' sizes."""
    config = load_config(load_yaml(CONFIG.read_text()))
    vocabulary = [f"word{number}" for number in range(words)]
    counts = []
    for name, backbone in sorted(config.backbones.items(), key=lambda item: item[1].parameters_b):
        model = build(backbone, name, vocabulary, config.image_size, 0).model
        counts.append((sum(parameter.numel() for parameter in model.parameters()), name))
    assert counts == sorted(counts)
    assert len({count for count, _ in counts}) == len(config.backbones)


def test_an_internvl_tokenizer_of_the_earlier_prompt_is_refused(tmp_path):
    """Its only closing tag ends with a newline, so today's prompt would have an unknown word there."""
    backbone = make("internvl")
    backbone.save(tmp_path)
    assert load(tmp_path).prompt_ids("drawer") == backbone.prompt_ids("drawer")
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace('"</img>"', '"</img>\\n"'))
    with pytest.raises(UserError, match=r"without the token '</img>'.* must be pre-trained again"):
        load(tmp_path)
