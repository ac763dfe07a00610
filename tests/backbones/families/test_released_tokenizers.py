"""Prompts with tokenizers of released models: our ids are those of the whole text, tokenized at once.

The whole text comes from the tokenizer's own chat template, or from transformers' own processor.
"""

import random

import numpy as np
import pytest
from npm_tokenizers import released_tokenizer
from tiny_backbones import make
from transformers import PaliGemmaProcessor, Qwen3VLConfig
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from vlm4vla.backbones.adapter import INSTRUCTION
from vlm4vla.backbones.families.chatml import SYSTEM
from vlm4vla.backbones.families.paligemma import PaliGemma
from vlm4vla.backbones.families.qwen3_vl import Qwen3VL
from vlm4vla.backbones.loaded import LoadedBackbone

SIDE = 64
IMAGE = "<|vision_start|>" + "<|image_pad|>" * (SIDE // 16 // 2) ** 2 + "<|vision_end|>"
INSTRUCTIONS = [
    "put the spoon on the towel",
    "Put both moka pots on the stove.",
    "lift the red block",
    "turn on the stove and put the moka pot on it",
    "  two spaces before,  and inside",
    "a line\nand another",
    "naïve café — 0.12 m to the left-hand drawer",
    "把红色方块放进抽屉",
    "x",
]


def words(count=40):
    """Random instructions of words, numbers, punctuation and line breaks."""
    draw = random.Random(0)
    parts = [
        "pick",
        "place",
        "the",
        "0.12",
        "12",
        "left-hand",
        "drawer",
        ",",
        ".",
        "\n",
        "  ",
        "'s",
        "(red)",
        "é",
    ]
    return [" ".join(draw.choices(parts, k=draw.randint(1, 9))) + "!" for _ in range(count)]


class Model:
    """The part of a transformers model that prompts need."""

    def __init__(self, config):
        self.config = config

    def modules(self):
        return iter(())


def backbone(adapter_class, config, tokenizer, monkeypatch):
    """Our class with a released tokenizer, and without weights."""
    adapter = adapter_class(config, tokenizer, SIDE)
    monkeypatch.setattr(adapter_class, "prepare", lambda self, model: None)
    return LoadedBackbone(Model(config), tokenizer, make(adapter_class.family).image_processor, adapter)


@pytest.fixture
def qwen(monkeypatch):
    tokenizer = released_tokenizer("qwen3")
    return backbone(Qwen3VL, Qwen3VLConfig(), tokenizer, monkeypatch)


def picture():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def test_qwens_prompts_are_those_of_the_chat_template(qwen):
    assert qwen.adapter.image_tokens == IMAGE.count("<|image_pad|>")
    for instruction in (*INSTRUCTIONS, *words()):
        turns = [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": f"{IMAGE}{INSTRUCTION} {instruction}"},
        ]
        text = qwen.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        whole = qwen.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert qwen.prompt_ids(instruction) == whole, instruction


def test_qwens_conversation_is_that_of_the_whole_text(qwen):
    texts = [*INSTRUCTIONS, *words()]
    # An answer with a line break at its start is cut from the prompt's last line break, as in generation.
    statements = [(one, two.strip()) for one, two in zip(texts[::2], texts[1::2], strict=False)]
    whole = SYSTEM
    for turn, (question, answer) in enumerate(statements):
        whole += ("\n" if turn else "") + "<|im_start|>user\n" + ("" if turn else IMAGE) + question
        whole += "<|im_end|>\n<|im_start|>assistant\n" + answer + "<|im_end|>"
    ids, is_target = qwen.conversation_ids(statements)
    assert ids == qwen.tokenizer(whole, add_special_tokens=False)["input_ids"]
    answers = "".join(answer + "<|im_end|>" for _, answer in statements)
    targets = [one for one, target in zip(ids, is_target, strict=True) if target]
    assert qwen.tokenizer.decode(targets) == answers


@pytest.fixture
def gemma(monkeypatch):
    """PaliGemma with Gemma 3's tokenizer, in which the token of an image has another name."""
    tokenizer = released_tokenizer("gemma3", extra_special_tokens={"image_token": "<image>"})
    config = make("paligemma").model.config
    config.image_token_index = config.image_token_id = tokenizer.image_token_id
    return backbone(PaliGemma, config, tokenizer, monkeypatch)


def test_paligemmas_prompts_are_those_of_the_processor(gemma):
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    images.image_seq_length = gemma.adapter.image_tokens
    processor = PaliGemmaProcessor(images, gemma.tokenizer)
    for instruction in (*INSTRUCTIONS, *words()):
        found = processor(text=[f"<image>{instruction}"], images=[picture()])
        assert gemma.prompt_ids(instruction) == list(found["input_ids"][0]), instruction


def test_paligemmas_conversation_is_that_of_the_whole_text(gemma):
    statements = [("detect spoon", "<loc0012> spoon"), ("left or right ?", "left"), ("12 + 0.12 ?", "12.12")]
    ids, _ = gemma.conversation_ids(statements)
    tokenizer = gemma.tokenizer
    whole = "<image>" * gemma.adapter.image_tokens + tokenizer.bos_token
    whole += "".join(f"{question}\n{answer}{tokenizer.eos_token}" for question, answer in statements)
    assert ids == tokenizer(whole, add_special_tokens=False)["input_ids"]
