"""The generic adapter against each model's own forward pass, on tiny twins with random weights."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.parts import find_parts
from vlm4vla.backbones.generic.twin import SPARE, build_twin
from vlm4vla.config.backbones import TinySize

SIDE = 64
SHORT, LONG = "open the drawer", "move the red block to the left of the large green bowl"
WORDS = f"{SHORT} {LONG} cupboard what action should robotic arm take".split()
TYPES = (
    "aya_vision",  # row of tile tokens
    "cosmos3_edge",
    "gemma3",  # image tokens attend to each other, by token_type_ids
    "gemma4",  # further inputs for each layer, from the ids
    "glm46v",  # positions on three axes
    "idefics3",
    "janus",
    "lighton_ocr",
    "llava_onevision",
    "mllama",  # cross-attention to the image, by a mask for each token
    "qwen3_5",  # linear attention in most layers
    "video_llava",
)
each_type = pytest.mark.parametrize("model_type", TYPES)


@functools.cache
def twin(model_type: str):
    model, processor = build_twin(model_type, TinySize(), WORDS, SIDE, seed=0)
    return model, GenericAdapter(model.config, processor, SIDE, model_type)


def image(seed: int) -> torch.Tensor:
    return torch.from_numpy(layouts.random_images(1, SIDE, seed))


def prompt(adapter: GenericAdapter, text: str) -> list[int]:
    return adapter.before + adapter.image_ids + adapter.encode(adapter.after_image(text))


def batch(adapter: GenericAdapter, texts: list[str], seeds: list[int]) -> dict:
    """Padded on the left, as `LoadedBackbone.batch` does it."""
    ids = [prompt(adapter, text) for text in texts]
    longest = max(map(len, ids))
    real = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in ids])
    padded = torch.tensor([[adapter.tokenizer.pad_token_id] * (longest - len(each)) + each for each in ids])
    return {
        "input_ids": padded,
        "attention_mask": real,
        "position_ids": torch.zeros_like(padded),
        **adapter.extras(torch.zeros_like(real).bool(), real.bool()),
        **adapter.process(torch.cat([image(seed) for seed in seeds]), None),
    }


def query_of(model) -> torch.Tensor:
    width = model.get_input_embeddings().weight.shape[1]
    return torch.from_numpy(np.random.default_rng(5).normal(size=width).astype(np.float32))


def state(model_type: str, texts: list[str], seeds: list[int]) -> torch.Tensor:
    model, adapter = twin(model_type)
    with torch.no_grad():
        return adapter.query_state(model, batch(adapter, texts, seeds), query_of(model))


@each_type
def test_the_state_is_that_of_the_models_own_forward_with_the_query_as_a_word(model_type):
    model, adapter = twin(model_type)
    embedding = model.get_input_embeddings()
    word = adapter.tokenizer.convert_tokens_to_ids(SPARE[-1])
    before, query_id = embedding.weight.detach().clone(), adapter.query_id
    inputs = batch(adapter, [LONG], [1])
    try:
        adapter.query_id = word
        with torch.no_grad():
            scale = (
                embedding(torch.tensor([word]))[0] / embedding.weight[word]
            ).mean()  # Gemma scales its words
            embedding.weight[word] = query_of(model) / scale
            own = {name: value for name, value in adapter.extend(inputs).items() if name != "position_ids"}
            ids = torch.cat([inputs["input_ids"], torch.tensor([[word]])], dim=1)
            expected = model(input_ids=ids, **own).logits[0, -1]
            found = adapter.query_state(model, inputs, query_of(model))
            torch.testing.assert_close(adapter.logits(model, found)[0], expected, atol=1e-5, rtol=1e-5)
    finally:
        adapter.query_id = query_id
        with torch.no_grad():
            embedding.weight.copy_(before)


@each_type
def test_padding_and_the_other_samples_change_nothing(model_type):
    together = state(model_type, [SHORT, LONG], [1, 2])
    alone = torch.cat([state(model_type, [SHORT], [1]), state(model_type, [LONG], [2])])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@each_type
def test_the_state_depends_on_the_image_and_on_the_text(model_type):
    own = state(model_type, [SHORT], [1])
    assert (state(model_type, [SHORT], [9]) - own).abs().max() > 1e-4
    assert (state(model_type, ["open the bowl"], [1]) - own).abs().max() > 1e-4


@each_type
def test_no_logits_are_computed(model_type):
    model, adapter = twin(model_type)
    rows = model.get_output_embeddings().weight.shape[0]

    class Widths(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = set()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            output = function(*args, **(kwargs or {}))
            if isinstance(output, torch.Tensor) and output.ndim and "mm" in function.__name__:
                self.seen.add(output.shape[-1])
            return output

    inputs = batch(adapter, [SHORT], [1])
    with torch.no_grad(), Widths() as ours:
        adapter.query_state(model, inputs, query_of(model))
    own = {name: value for name, value in inputs.items() if name != "position_ids"}
    with torch.no_grad(), Widths() as plain:
        model(**own)
    assert rows in plain.seen
    assert rows not in ours.seen


@each_type
def test_hidden_states_of_a_padded_batch_give_the_logits_of_each_sample(model_type):
    model, adapter = twin(model_type)
    with torch.no_grad():
        states = adapter.hidden_states(model, batch(adapter, [SHORT, LONG], [1, 2]))
        for row, (text, seed) in enumerate(((SHORT, 1), (LONG, 2))):
            inputs = batch(adapter, [text], [seed])
            own = {name: value for name, value in inputs.items() if name != "position_ids"}
            expected = model(**own).logits[0]
            found = adapter.logits(model, states[row, -len(expected) :])
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@each_type
def test_image_and_text_train(model_type):
    model, adapter = twin(model_type)
    parts = find_parts(model, model_type).of_parameters(model)
    assert set(parts) == {name for name, _ in model.named_parameters()}
    model.zero_grad()
    adapter.query_state(model, batch(adapter, [SHORT], [1]), query_of(model)).square().sum().backward()
    trained = {
        parts[name]
        for name, weight in model.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    model.zero_grad()
    assert {"vision", "language"} <= trained


@each_type
def test_a_frozen_vision_encoder_stays_and_the_rest_moves(model_type):
    model, adapter = twin(model_type)
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    parts = find_parts(model, model_type)
    names = parts.of_parameters(model)
    parts.vision.requires_grad_(False)
    try:
        adapter.query_state(model, batch(adapter, [SHORT], [1]), query_of(model)).square().sum().backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight -= 0.1 * weight.grad
        moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, weights[name])}
        assert moved and {names[name] for name in moved} <= {"projector", "language"}
    finally:
        parts.vision.requires_grad_(True)
        model.zero_grad()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(weights[name])
