"""A model type that this package has not heard of, as a newer transformers or a user's file would have it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaProcessor,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from vlm4vla.backbones import build, load
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.lookup import is_generic, is_known
from vlm4vla.config.backbones import Backbone
from vlm4vla.policies.survey import survey

NAME = "tomorrow"
INSTRUCTIONS = ["open the drawer", "move the red block to the left of the large green bowl"]


class TomorrowConfig(LlavaConfig):
    model_type = NAME


class TomorrowModel(LlavaModel):
    """Llava with a gate between the word embeddings and the language model."""

    config_class = TomorrowConfig

    def __init__(self, config):
        super().__init__(config)
        self.gate = nn.Linear(config.text_config.hidden_size, config.text_config.hidden_size)

    def get_image_features(self, *arguments, **options):
        found = super().get_image_features(*arguments, **options)
        found.pooler_output = [states * self.gate(states).sigmoid() for states in found.pooler_output]
        return found


class TomorrowForConditionalGeneration(LlavaForConditionalGeneration):
    config_class = TomorrowConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = TomorrowModel(config)
        self.post_init()


@pytest.fixture(autouse=True)
def tomorrow():
    assert not is_known(NAME)
    AutoConfig.register(NAME, TomorrowConfig)
    AutoModelForImageTextToText.register(TomorrowConfig, TomorrowForConditionalGeneration)
    AutoProcessor.register(TomorrowConfig, LlavaProcessor)
    yield
    del CONFIG_MAPPING._extra_content[NAME]
    for mapping in (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, PROCESSOR_MAPPING):
        del mapping._extra_content[TomorrowConfig]


def test_it_passes_all_checks():
    assert is_generic(NAME)
    found = survey(NAME)
    assert found.works, found.reason
    assert found.image_tokens == 16


def test_a_folder_of_it_is_loaded_and_gives_the_state_of_its_own_forward_pass(tmp_path):
    settings = Backbone(family=NAME, parameters_b=1, tiny={}, pretraining="broad")
    made = build(settings, NAME, " ".join(INSTRUCTIONS).split(), 64, 0)
    assert isinstance(made.model, TomorrowForConditionalGeneration)
    made.save(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded.adapter, GenericAdapter)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    batch = loaded.batch([list(loaded.prompt_ids(text)) for text in INSTRUCTIONS], images)
    word = loaded.end_id
    with torch.no_grad():
        query = loaded.model.get_input_embeddings().weight[word].clone()
        found = loaded.adapter.logits(loaded.model, loaded.hidden(batch, query))
        for row, text in enumerate(INSTRUCTIONS):
            ids = torch.tensor([[*loaded.prompt_ids(text), word]])
            pixels = loaded.encode_images(images[row : row + 1])
            own = made.model(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels).logits[0, -1]
            torch.testing.assert_close(found[row], own, atol=1e-5, rtol=0)
