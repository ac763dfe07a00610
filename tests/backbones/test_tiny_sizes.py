"""Sizes that a tiny backbone cannot have are refused before a job builds it."""

import pytest

from vlm4vla.backbones import build
from vlm4vla.backbones.tiny_sizes import KOSMOS_IMAGE_WORDS, PATCH, check_tiny
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.core.errors import UserError


@pytest.mark.parametrize(
    ("size", "image_size", "family", "message"),
    [
        ({}, 65, "qwen3_vl", "image_size: 65 must be a multiple of 16 from 32 to 336"),
        ({}, 352, "qwen3_vl", "image_size: 352 must be"),
        ({}, 144, "kosmos-2", "image_size: 144 must be a multiple of 16 from 32 to 128"),
        ({"hidden": 24, "heads": 4}, 64, "qwen3_vl", "x.tiny.hidden: 24 must be a multiple of 8 times heads"),
        ({"vision_hidden": 12}, 64, "internvl", "x.tiny.vision_hidden: 12 must be"),
        ({}, 64, "qwen3_vl_moe", "experts_per_token: 0 of 0 experts"),
        ({"experts": 4}, 64, "qwen3_vl_moe", "experts_per_token: 0 of 4 experts"),
        ({"layers": 10_000_000}, 64, "paligemma", "x.tiny: has about 4e.11 weights"),
        ({"hidden": 3_200_000}, 64, "paligemma", "weights.*: write smaller sizes"),
        ({"vision_layers": 100_000}, 64, "paligemma", "weights.*: write smaller sizes"),
    ],
)
def test_one_line_names_the_key(size, image_size, family, message):
    with pytest.raises(UserError, match=message) as error:
        check_tiny(TinySize(**size), "x", image_size, family)
    assert str(error.value).startswith("config.yaml: ") and "\n" not in str(error.value)


def test_the_largest_image_of_kosmos_has_words_of_its_own():
    """The ids after the unknown token mean the image; a word among them would mean both."""
    side = PATCH * int(KOSMOS_IMAGE_WORDS**0.5)
    settings = Backbone(family="kosmos-2", parameters_b=1, tiny=TinySize(), pretraining="any")
    backbone = build(settings, "kosmos-2", ["block", "red"], side, 0)
    placeholders = backbone.adapter.placeholders()
    words = [backbone.tokenizer.convert_tokens_to_ids(word) for word in ("block", "red")]
    assert len(placeholders) == KOSMOS_IMAGE_WORDS and not set(placeholders) & set(words)
    assert max(placeholders) < len(backbone.tokenizer)
