"""Folders of models that have no adapter of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vlm4vla.backbones import load
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.forward import states_kept
from vlm4vla.backbones.generic.processor import load_processor
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.backbones.logits import greedy_answers
from vlm4vla.backbones.lookup import generic_types, is_generic, is_known, supports_expert_heads
from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

SIDE = 64
INSTRUCTIONS = ["open the drawer", "move the red block to the left of the large green bowl"]
WORDS = f"{' '.join(INSTRUCTIONS)} cupboard what action should robotic arm take".split()
TYPES = ("gemma3", "glm46v", "llava_onevision", "qwen3_5")


def written(model_type, folder):
    model, processor = build_twin(model_type, TinySize(), WORDS, SIDE, seed=0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


def images():
    return np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("model_type", TYPES)
def test_a_folder_gives_hidden_states_and_answers_and_can_be_saved_again(model_type, tmp_path):
    own = written(model_type, tmp_path / "first")
    loaded = load(tmp_path / "first")
    assert isinstance(loaded.adapter, GenericAdapter) and loaded.image_size == SIDE
    query = torch.linspace(-1, 1, loaded.hidden_size)
    ids = [list(loaded.prompt_ids(text)) for text in INSTRUCTIONS]
    with torch.no_grad():
        states = loaded.hidden(loaded.batch(ids, images()), query)
        inputs = loaded.adapter.process(torch.from_numpy(images()[:1]), None)
        extras = loaded.adapter.extras(torch.zeros(1, len(ids[0])).bool(), torch.ones(1, len(ids[0])).bool())
        best = own(input_ids=torch.tensor(ids[:1]), **extras, **inputs).logits[0, -1].argmax()
    (answer,) = greedy_answers(loaded, images()[:1], [loaded.adapter.instruction(INSTRUCTIONS[0])], 1)
    assert answer == loaded.decode([int(best)])
    loaded.save(tmp_path / "second")
    again = load(tmp_path / "second")
    with torch.no_grad():
        assert torch.equal(again.hidden(again.batch(ids, images()), query), states)


def test_the_processor_needs_neither_torchvision_nor_a_video_processor(tmp_path):
    written("qwen3_5", tmp_path)
    processor = load_processor(tmp_path)
    assert processor.video_processor.merge_size is None
    with pytest.raises(TypeError, match="images and text only"):
        processor.video_processor([])
    assert "video_processor" not in json.loads((tmp_path / "processor_config.json").read_text())


def test_heads_that_read_keys_are_refused(tmp_path):
    written("qwen3_5", tmp_path)
    loaded = load(tmp_path)
    batch = loaded.batch([list(loaded.prompt_ids(INSTRUCTIONS[0]))], images()[:1])
    with pytest.raises(
        UserError, match="do not support models of the type 'qwen3_5': write a head of the kind `mlp`"
    ):
        PromptCache(loaded, batch)


def test_a_model_without_a_vision_encoder_by_a_known_name_is_refused(tmp_path):
    written("qwen3_5", tmp_path)
    loaded = load(tmp_path)
    loaded.model.model.eyes = loaded.model.model._modules.pop("visual")
    with pytest.raises(UserError, match="finds no vision encoder in Qwen3_5ForConditionalGeneration"):
        loaded.vision_encoder()


def test_a_model_that_does_not_look_at_the_image_is_refused(tmp_path):
    model, processor = build_twin("llava_onevision", TinySize(), WORDS, SIDE, seed=0)
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.weight.zero_()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="the state of the action query does not depend on the image"):
        load(tmp_path)


def test_a_model_that_attends_to_padding_is_refused(tmp_path, monkeypatch):
    written("llava_onevision", tmp_path)
    load(tmp_path)

    def without_mask(self, batch):
        mask = torch.ones_like(batch["attention_mask"])
        return {name: batch[name] for name in batch if name != "position_ids"} | {
            "attention_mask": mask
        }, None

    monkeypatch.setattr(GenericAdapter, "_right_padded", without_mask)
    with pytest.raises(UserError, match="the state of the action query depends on the padding of the prompt"):
        load(tmp_path)


def test_images_of_another_size_are_refused_if_they_become_other_tokens(tmp_path):
    written("llava_onevision", tmp_path)
    loaded = load(tmp_path)
    with pytest.raises(ValueError, match="images of 64x128 pixels: resize them"):
        loaded.encode_images(np.zeros((1, 64, 128, 3), dtype=np.uint8))


def test_a_model_with_fewer_states_than_ids_is_refused():
    layer = torch.nn.Linear(4, 9)
    with states_kept(layer, 5), pytest.raises(UserError, match="makes 3 states of 5 ids"):
        layer(torch.zeros(1, 3, 4))


def test_of_more_states_than_ids_the_last_ones_are_kept():
    layer, states = torch.nn.Linear(4, 9), torch.arange(20.0).view(1, 5, 4)
    with states_kept(layer, 3) as kept:
        layer(states)
    assert torch.equal(kept[0], states[:, 2:])
    with states_kept(layer, 3, torch.tensor([1])) as kept:
        layer(states)
    assert torch.equal(kept[0], states[:, 3:4])


def test_the_names_are_those_of_transformers_own_mapping():
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    assert generic_types() == set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    assert set(TYPES) <= generic_types()


def test_a_model_type_is_a_family():
    assert is_known("gemma3") and is_generic("gemma3")
    assert is_known("qwen3_vl") and not is_generic("qwen3_vl")
    assert not is_known("gemma33")
    assert supports_expert_heads("qwen3_vl") and not supports_expert_heads("gemma3")
