"""The parts that PyPI brings, against the models that they are taken from (`make test-parts`)."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import re

import pytest
import torch
from small_parts import lite_features

from vlm4vla.backbones import load
from vlm4vla.backbones.assembly.assembled import assembled
from vlm4vla.backbones.assembly.language import first_layers, read_model, read_tokenizer
from vlm4vla.backbones.assembly.parts import LANGUAGE, VISION, find_file
from vlm4vla.backbones.assembly.vision import lite_config, read_weights, vision_encoder

SAME = 1e-5
LAYERS = 4
NEEDED = [part.module for part in (*VISION.values(), *LANGUAGE.values())] + ["gguf"]
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED), reason="run make test-parts"
)
TEXTS = (
    "open the drawer",
    "What action should the robotic arm take to move the red block to the left of the large green bowl",
    "<loc0312> <x07> 12 blocks, 3.14159 2024! don't",
    "  two  spaces\n\nand lines\t\r\n ",
    "Grüße, ½ ²³ ٣٤ 你好 🤖🤖 naïve",
    "<|im_start|>user\nhello<|im_end|>\n",
)


@functools.cache
def files():
    return find_file(VISION["efficientnet-lite0"]), find_file(LANGUAGE["smollm2-135m"])


@functools.cache
def whole():
    """The whole language model as transformers reads it. It is not changed."""
    return read_model(files()[1])


@functools.cache
def metadata():
    from gguf import GGUFReader

    return {name: field.contents() for name, field in GGUFReader(files()[1]).fields.items()}


@pytest.mark.parametrize("size", [64, 96, 128, 224])
def test_features_are_those_of_efficientnet_lite0(size):
    weights = read_weights(files()[0])
    model = vision_encoder(weights, lite_config(size))
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1
    with torch.no_grad():
        rounded = model(images).last_hidden_state
        found = model.double()(images.double()).last_hidden_state
        expected = lite_features(weights, images.double())
    assert found.shape == (2, 1280, size // 32, size // 32)
    assert (found - expected).abs().max() < SAME
    # In float32, the features, which go up to 6, have the rounding of 50 layers.
    assert expected.max() > 1 and (rounded - expected).abs().max() < SAME * 6


def test_states_of_the_kept_layers_are_those_of_the_gguf_model(tmp_path):
    """The folder's states, after it was written and read."""
    tokenizer = read_tokenizer(files()[1])
    kept = first_layers(read_model(files()[1]), LAYERS, len(tokenizer))
    vision = vision_encoder(read_weights(files()[0]), lite_config(64))
    assembled(vision, kept, tokenizer, 0).save(tmp_path / "backbone")
    backbone = load(tmp_path / "backbone")
    ids = tokenizer(list(TEXTS[:2]), padding=True, return_tensors="pt")
    with torch.no_grad():
        own = backbone.model.model.language_model(**ids, output_hidden_states=True)
        other = whole().model(**ids, output_hidden_states=True)
        last = whole().model.norm(other.hidden_states[LAYERS])
    assert len(other.hidden_states) == 31
    real = ids["attention_mask"].bool()
    for index in range(LAYERS):
        assert (own.hidden_states[index] - other.hidden_states[index])[real].abs().max() < SAME
    assert (own.last_hidden_state - last)[real].abs().max() < SAME
    rows = backbone.word_embedding().weight
    assert torch.equal(rows[:-1], whole().get_input_embeddings().weight)
    assert [backbone.prompt_ids(text) for text in TEXTS] == [
        backbone.question_ids(backbone.adapter.instruction(text)) for text in TEXTS
    ]


def test_the_whole_model_of_the_file_knows_its_language():
    """The weights are read in the right order: a wrong one would make noise of the answer."""
    tokenizer = read_tokenizer(files()[1])
    ids = tokenizer(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
        return_tensors="pt",
    )
    with torch.no_grad():
        found = whole().generate(**ids, max_new_tokens=8, do_sample=False)
    assert "Paris" in tokenizer.decode(found[0][ids["input_ids"].shape[1] :])


# The tokenizer of the file, from its list of tokens and merges alone ---------------------------------------


@functools.cache
def byte_letters():
    """The letter that stands for each byte in a vocabulary of byte-level BPE."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def pieces(text):
    """Splitting by `tokenizer.ggml.pre: smollm`: digits one by one, and then as GPT-2 does it."""
    regex = pytest.importorskip("regex")
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    for part in regex.split(r"(\p{N})", text):
        yield from regex.findall(gpt2, part)


def own_ids(text):
    tokens, types = (metadata()[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type"))
    ids = {token: number for number, token in enumerate(tokens)}
    ranks = {tuple(pair.split(" ")): rank for rank, pair in enumerate(metadata()["tokenizer.ggml.merges"])}
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == 3]
    found = []
    for part in re.split("(" + "|".join(map(re.escape, special)) + ")", text):
        if part in special:
            found.append(ids[part])
            continue
        for piece in pieces(part):
            word = [byte_letters()[byte] for byte in piece.encode()]
            while len(word) > 1:
                pairs = {pair: ranks[pair] for pair in itertools.pairwise(word) if pair in ranks}
                if not pairs:
                    break
                best = min(pairs, key=pairs.__getitem__)
                merged, index = [], 0
                while index < len(word):
                    joined = tuple(word[index : index + 2]) == best
                    merged.append("".join(best) if joined else word[index])
                    index += 2 if joined else 1
                word = merged
            found += [ids[token] for token in word]
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_gives_the_ids_of_the_file(text):
    tokenizer = read_tokenizer(files()[1])
    found = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert found == own_ids(text)
    assert tokenizer.decode(found) == text


def test_the_only_new_token_is_that_of_the_image():
    tokenizer = read_tokenizer(files()[1])
    tokens = metadata()["tokenizer.ggml.tokens"]
    assert tokenizer.convert_ids_to_tokens(range(len(tokens))) == tokens
    assert len(tokenizer) == len(tokens) + 1 and tokenizer.convert_ids_to_tokens(len(tokens)) == "<image>"
