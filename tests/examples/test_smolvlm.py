"""The example family: the tests of the built-in families, held against transformers' own forward.

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
from test_last_position import test_every_family_spares_its_last_layer  # noqa: F401
from test_parity import (  # noqa: F401
    query,
    test_answers_do_not_see_what_follows,
    test_left_padding_does_not_matter,
    test_no_vocabulary_logits,
    test_padding_does_not_change_logits,
    test_picture_and_text_matter,
    test_pictures_equal_the_image_processors,
    test_pictures_of_another_size_are_resized_by_the_processor,
    test_query_state_is_that_of_transformers,
    test_rollout_tensors_serve_training,
)
from test_reading import (  # noqa: F401, what expert heads need
    test_a_cache_is_a_copy,
    test_reading_on_is_reading_the_whole,
    test_what_follows_teaches_what_was_read,
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
    """Shared: tests must not change its weights."""
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


def test_a_saved_folder_is_of_the_family(backbone, images, instructions, query, tmp_path):  # noqa: F811
    backbone.save(tmp_path)
    check_family(tmp_path, FAMILY, "backbones.mine")
    loaded = load(tmp_path)
    ids = [backbone.prompt_ids(text) for text in instructions]
    with torch.no_grad():
        states = [each.hidden(each.batch(ids, images), query) for each in (backbone, loaded)]
    torch.testing.assert_close(states[0], states[1], atol=1e-6, rtol=0)


def test_words_can_be_added(fresh, images):
    """As auxiliary tasks do, and benchmarks of one's own."""
    backbone = fresh()
    rows = backbone.word_embedding().weight.shape[0]
    grown = add_words(backbone, ["leftmost", "block"])
    assert grown.word_embedding().weight.shape[0] == rows + 1
    assert grown.model.get_output_embeddings().weight.shape[0] == rows + 1
    ids, _ = grown.conversation_ids([("where is the block ?", "leftmost block")])
    logits = grown.model(**grown.batch([ids], images[:1])).logits
    assert logits.shape == (1, len(ids), rows + 1)


def test_every_part_learns(fresh, images, instructions):
    """Vision encoder, connector and language model all get gradients from a policy's loss; a key's bias moves
    all scores of a query alike, so it has none."""
    backbone = fresh()
    ids = [backbone.prompt_ids(text) for text in instructions]
    backbone.hidden(backbone.batch(ids, images), torch.ones(backbone.hidden_size)).square().sum().backward()
    still = [
        name
        for name, parameter in backbone.model.named_parameters()
        if not name.endswith("k_proj.bias") and (parameter.grad is None or not parameter.grad.abs().max() > 0)
    ]
    assert not still


def test_a_conversation_has_the_released_template(backbone):
    """The text between the picture's tokens, written out as SmolVLM's chat template writes it."""
    ids, learnt = backbone.conversation_ids([("where is the red block ?", "<loc3>"), ("describe", "block")])
    text = backbone.tokenizer.decode(ids).replace(" ", "")
    picture = "<fake_token_around_image><global-img>" + "<image>" * 16 + "<fake_token_around_image>"
    assert text == (
        f"<|im_start|>User:{picture}whereistheredblock?<end_of_utterance>\nAssistant:<loc3><end_of_utterance>"
        "\nUser:describe<end_of_utterance>\nAssistant:block<end_of_utterance>"
    )
    assert backbone.decode([i for i, told in zip(ids, learnt, strict=True) if told]) == "<loc3>"
