"""The example family: the tests of the built-in families, which compare it with transformers' own forward.

For a family of your own, copy this file and change FAMILY, CLASS and the example's path in conftest.py.
"""

import numpy as np
import pytest
import torch
from test_building import (  # noqa: F401
    test_building_leaves_the_random_state_alone,
    test_no_dropout,
    test_seed_decides_the_weights,
)
from test_last_position import test_every_family_computes_its_last_layer_at_one_position  # noqa: F401
from test_parity import (  # noqa: F401
    query,
    test_answers_do_not_depend_on_later_tokens,
    test_hidden_computes_no_vocabulary_logits,
    test_image_and_text_matter,
    test_images_of_another_size_are_resized_by_the_processor,
    test_left_padding_does_not_matter,
    test_padding_does_not_change_logits,
    test_pixels_equal_the_image_processors,
    test_query_state_equals_that_of_transformers,
    test_tensors_of_a_rollout_work_in_training,
)
from test_prompt_cache import (  # noqa: F401, what expert heads need
    test_appended_tokens_equal_one_pass,
    test_dynamic_cache_is_a_copy,
    test_gradients_flow_through_the_cache,
)
from tiny_backbones import make

from vlm4vla.backbones import load
from vlm4vla.backbones.installing import check_family
from vlm4vla.backbones.lookup import adapter_class, adapter_class_of
from vlm4vla.backbones.vocabulary import add_words

FAMILY = "smolvlm"
CLASS = "SmolVLMForConditionalGeneration"


@pytest.fixture(scope="module")
def family():
    return FAMILY


@pytest.fixture(scope="module")
def backbone():
    """All tests share this backbone, so they must not change its weights."""
    torch.set_num_threads(1)
    return make(FAMILY)


@pytest.fixture
def fresh():
    return lambda seed=0: make(FAMILY, seed)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def instructions():
    return ["pick up the red block and put it in the drawer", "pick up the green block", "drawer"]


def test_real_class_and_sixteen_image_tokens(backbone):
    assert type(backbone.model).__name__ == CLASS
    assert type(backbone.model).__module__.startswith("transformers.")
    assert backbone.adapter.image_tokens == 16
    assert adapter_class_of(backbone.model.config, "test") is adapter_class(FAMILY)


def test_a_saved_backbone_loads_as_the_family(backbone, images, instructions, query, tmp_path):  # noqa: F811
    backbone.save(tmp_path)
    check_family(tmp_path, FAMILY, "backbones.mine")
    loaded = load(tmp_path)
    ids = [backbone.prompt_ids(text) for text in instructions]
    with torch.no_grad():
        states = [each.hidden(each.batch(ids, images), query) for each in (backbone, loaded)]
    torch.testing.assert_close(states[0], states[1], atol=1e-6, rtol=0)


def test_words_can_be_added(fresh, images):
    """Auxiliary tasks and users' benchmarks add words."""
    backbone = fresh()
    rows = backbone.word_embedding().weight.shape[0]
    grown = add_words(backbone, ["leftmost", "block"])
    assert grown.word_embedding().weight.shape[0] == rows + 1
    assert grown.model.get_output_embeddings().weight.shape[0] == rows + 1
    ids, _ = grown.conversation_ids([("where is the block ?", "leftmost block")])
    logits = grown.model(**grown.batch([ids], images[:1])).logits
    assert logits.shape == (1, len(ids), rows + 1)


def test_every_part_gets_gradients(fresh, images, instructions):
    """Vision encoder, connector and language model get gradients from a policy's loss.

    The bias of a key changes all scores of a query equally, so its gradient is zero.
    """
    backbone = fresh()
    ids = [backbone.prompt_ids(text) for text in instructions]
    backbone.hidden(backbone.batch(ids, images), torch.ones(backbone.hidden_size)).square().sum().backward()
    without_gradient = [
        name
        for name, parameter in backbone.model.named_parameters()
        if not name.endswith("k_proj.bias") and (parameter.grad is None or not parameter.grad.abs().max() > 0)
    ]
    assert not without_gradient


def test_a_conversation_has_the_released_template(backbone):
    """The text around the image tokens is that of SmolVLM's chat template."""
    ids, learnt = backbone.conversation_ids([("where is the red block ?", "<loc3>"), ("describe", "block")])
    text = backbone.tokenizer.decode(ids).replace(" ", "")
    image = "<fake_token_around_image><global-img>" + "<image>" * 16 + "<fake_token_around_image>"
    assert text == (
        f"<|im_start|>User:{image}whereistheredblock?<end_of_utterance>\nAssistant:<loc3><end_of_utterance>"
        "\nUser:describe<end_of_utterance>\nAssistant:block<end_of_utterance>"
    )
    assert backbone.decode([i for i, trained in zip(ids, learnt, strict=True) if trained]) == "<loc3>"
