"""Reading a prompt and then reading on gives what one reading of the whole gives."""

import numpy as np
import pytest
import torch
from tiny_backbones import WORDS, make

from vlm4vla.backbones.known_families import NOT_READ
from vlm4vla.backbones.logits import hidden_states
from vlm4vla.backbones.prompt_cache import Reading
from vlm4vla.core.registry import FAMILIES

READ = [family for family in FAMILIES if family not in NOT_READ]


@pytest.fixture(params=READ, scope="module")
def backbone(request):
    return make(request.param)


def texts(backbone, instructions):
    prompts = [list(backbone.prompt_ids(text)) for text in instructions]
    words = [backbone.adapter.encode(word)[0] for word in WORDS if word.isalpha()]
    return prompts, np.random.default_rng(0).choice(words, (len(prompts), 5))


def test_reading_on_is_reading_the_whole(backbone, images, instructions):
    """Prompts of three lengths, so two are padded; the words after them come in two portions."""
    prompts, more = texts(backbone, instructions)
    whole = backbone.batch([p + m.tolist() for p, m in zip(prompts, more, strict=True)], images)
    with torch.no_grad():
        expected = hidden_states(backbone, whole)
        reading = Reading(backbone, backbone.batch(prompts, images))
        first = reading.on(torch.from_numpy(more[:, :3]))
        second = reading.on(torch.from_numpy(more[:, 3:]))
    torch.testing.assert_close(torch.cat([first, second], 1), expected[:, -5:], atol=1e-5, rtol=0)
    real = whole["attention_mask"].bool()
    torch.testing.assert_close(reading.hidden[real], expected[real], atol=1e-5, rtol=0)
    torch.testing.assert_close(reading.position, whole["position_ids"][..., -1:])


def test_what_follows_teaches_what_was_read(backbone, images, instructions):
    prompts, more = texts(backbone, instructions)
    reading = Reading(backbone, backbone.batch(prompts, images))
    reading.on(torch.from_numpy(more)).square().sum().backward()
    encoder = [p.grad for module in backbone.vision_encoder() for p in module.parameters()]
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in encoder)
    backbone.model.zero_grad()


def test_a_cache_is_a_copy(backbone, images, instructions):
    """What an expert adds to it in one integration step is not there in the next."""
    prompts, _ = texts(backbone, instructions)
    with torch.no_grad():
        reading = Reading(backbone, backbone.batch(prompts, images))
        length = reading.hidden.shape[1]
        cache = reading.cache()
        keys, values = reading.layers[0]
        cache.update(keys[:, :, :2], values[:, :, :2], 0)
    assert cache.layers[0].keys.shape[2] == length + 2
    assert reading.layers[0][0].shape[2] == length
    assert reading.cache().layers[0].keys.shape[2] == length
