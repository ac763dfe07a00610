"""The first layers of a language model in a GGUF file, with its tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging

from vlm4vla.core.errors import UserError

IMAGE_TOKEN = "<image>"
# One turn of ChatML, as the model was trained with, but without the system prompt: the prompts of the study
# are instructions of one sentence.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def read_model(file: Path) -> LlamaForCausalLM:
    """The whole model of a GGUF file with float32 weights. The package gguf has to be installed."""
    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()


def first_layers(model: LlamaForCausalLM, layers: int, words: int) -> LlamaForCausalLM:
    """`model` with its first `layers` layers and a word embedding of `words` rows; it is changed in place.

    The final norm stays. New rows of the embedding are the mean of the others. Raises UserError for a number
    of layers that the model does not have.
    """
    known = len(model.model.layers)
    if not 1 <= layers <= known:
        raise UserError(
            f"--layers {layers}: the language model has {known} layers: write a number from 1 to {known}"
        )
    model.model.layers = nn.ModuleList(list(model.model.layers)[:layers])
    model.config.num_hidden_layers = layers
    model.model.config.num_hidden_layers = layers
    old: Tensor = model.model.embed_tokens.weight.detach()
    new = old.mean(0, keepdim=True).repeat(words, 1)
    new[: len(old)] = old[:words]
    embedding = nn.Embedding.from_pretrained(
        new, freeze=False, padding_idx=model.model.embed_tokens.padding_idx
    )
    model.model.embed_tokens = embedding
    model.lm_head.weight = embedding.weight
    model.config.vocab_size = words
    return model


def read_tokenizer(file: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a GGUF file, with a token for images as its last one."""
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, padding_side="left")
    # transformers leaves the splitting of digits out, which the file names (`tokenizer.ggml.pre: smollm`).
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer
