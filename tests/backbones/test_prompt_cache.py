"""A cached prompt with appended tokens gives the same hidden states as one pass over the whole sequence."""

import numpy as np
import pytest
import torch
from tiny_backbones import WORDS, make

from vlm4vla.backbones.logits import hidden_states
from vlm4vla.backbones.lookup import WITHOUT_EXPERT_HEADS
from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.core.registry import FAMILIES

FAMILIES_WITH_EXPERT_HEADS = [family for family in FAMILIES if family not in WITHOUT_EXPERT_HEADS]


@pytest.fixture(params=FAMILIES_WITH_EXPERT_HEADS, scope="module")
def backbone(request):
    return make(request.param)


def texts(backbone, instructions):
    prompts = [list(backbone.prompt_ids(text)) for text in instructions]
    words = [backbone.adapter.encode(word)[0] for word in WORDS if word.isalpha()]
    return prompts, np.random.default_rng(0).choice(words, (len(prompts), 5))


def test_appended_tokens_equal_one_pass(backbone, images, instructions):
    """The prompts have three lengths, so two are padded; the words are appended in two portions."""
    prompts, more = texts(backbone, instructions)
    whole = backbone.batch([p + m.tolist() for p, m in zip(prompts, more, strict=True)], images)
    with torch.no_grad():
        expected = hidden_states(backbone, whole)
        prompt = PromptCache(backbone, backbone.batch(prompts, images))
        first = prompt.append(torch.from_numpy(more[:, :3]))
        second = prompt.append(torch.from_numpy(more[:, 3:]))
    torch.testing.assert_close(torch.cat([first, second], 1), expected[:, -5:], atol=1e-5, rtol=0)
    real = whole["attention_mask"].bool()
    torch.testing.assert_close(prompt.hidden[real], expected[real], atol=1e-5, rtol=0)
    torch.testing.assert_close(prompt.last_position, whole["position_ids"][..., -1:])


def test_gradients_flow_through_the_cache(backbone, images, instructions):
    prompts, more = texts(backbone, instructions)
    prompt = PromptCache(backbone, backbone.batch(prompts, images))
    prompt.append(torch.from_numpy(more)).square().sum().backward()
    encoder = [p.grad for module in backbone.vision_encoder() for p in module.parameters()]
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in encoder)
    backbone.model.zero_grad()


def test_dynamic_cache_is_a_copy(backbone, images, instructions):
    """Tokens that an expert adds in one integration step must not appear in the next step."""
    prompts, _ = texts(backbone, instructions)
    with torch.no_grad():
        prompt = PromptCache(backbone, backbone.batch(prompts, images))
        length = prompt.hidden.shape[1]
        cache = prompt.dynamic_cache()
        keys, values = prompt.layers[0]
        cache.update(keys[:, :, :2], values[:, :, :2], 0)
    assert cache.layers[0].keys.shape[2] == length + 2
    assert prompt.layers[0][0].shape[2] == length
    assert prompt.dynamic_cache().layers[0].keys.shape[2] == length
