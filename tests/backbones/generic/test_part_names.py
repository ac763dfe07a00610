"""Names of modules in the configuration instead of those that transformers finds."""

from __future__ import annotations

import json

import pytest

from vlm4vla.backbones import build, load
from vlm4vla.backbones.generic.parts import find_parts, with_part_names
from vlm4vla.config.backbones import Backbone, PartNames
from vlm4vla.core.errors import UserError


def make(**parts):
    settings = Backbone(family="gemma3", parameters_b=1, tiny={}, pretraining="broad", parts=parts)
    return build(settings, "mine", ["drawer"], 64, 0)


def test_a_named_module_is_the_part_and_stays_it_in_a_saved_folder(tmp_path):
    backbone = make(vision="model.vision_tower.encoder")
    assert backbone.vision_encoder() == [backbone.model.model.vision_tower.encoder]
    backbone.save(tmp_path)
    again = load(tmp_path)
    assert again.vision_encoder() == [again.model.model.vision_tower.encoder]
    assert again.word_embedding() is again.model.get_input_embeddings()


def test_names_are_written_into_a_folder(tmp_path):
    settings = Backbone(family="gemma3", parameters_b=1, tiny={}, pretraining="broad")
    build(settings, "mine", ["drawer"], 64, 0).save(tmp_path)
    file = tmp_path / "config.json"
    names = PartNames(vision="model.multi_modal_projector")
    file.write_text(json.dumps(with_part_names(json.loads(file.read_text()), names)))
    again = load(tmp_path)
    assert again.vision_encoder() == [again.model.model.multi_modal_projector]


def test_a_module_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"parts.vision: Gemma3\w+ has no module 'model.vision_towr'"):
        find_parts(make(vision="model.vision_towr").model, "config.yaml: backbones.mine").vision.parameters()


@pytest.mark.parametrize("key", [{"parts": {"vision": "x"}}, {"image_tokens": 100}])
def test_families_with_an_adapter_know_their_modules(key):
    with pytest.raises(ValueError, match=r"the family 'qwen3_vl' has an adapter of its own: remove this key"):
        Backbone(family="qwen3_vl", checkpoint="somewhere", **key)
