"""A prompt that the language model has already read, to which tokens can be appended.

Heads that predict tokens, and heads that attend to the backbone layer by layer, use it: the model reads image
and instruction once and keeps their keys and values for the tokens that follow. Gradients flow through the
cached keys and values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.core.errors import UserError


class PromptCache:
    """The keys, values and hidden states of a batch of prompts.

    Attributes: `hidden` (B, T, d), hidden states after the final norm; `mask` (B, T), 1 for real tokens;
    `last_position` (..., B, 1), the position id of the last token; `layers`, for each layer the keys and the
    values, both (B, heads, T, size).
    """

    def __init__(self, backbone: LoadedBackbone, inputs: dict[str, Any]):
        """Run the language model on a `LoadedBackbone.batch`.

        Raises UserError for a backbone without an adapter of its own.
        """
        if not backbone.adapter.is_read:
            raise UserError(
                "head: expert heads and heads that predict tokens do not support models of the "
                f"type {backbone.adapter.family!r}: write a head of the kind `mlp`"
            )
        rest = dict(inputs)
        embeddings = backbone.word_embedding()(rest.pop("input_ids"))
        self.backbone = backbone
        self.hidden, cache = backbone.adapter.read(backbone.model, embeddings, rest)
        self.mask: Tensor = inputs["attention_mask"]
        self.last_position: Tensor = inputs["position_ids"][..., -1:]
        self.layers: list[tuple[Tensor, Tensor]] = [(layer.keys, layer.values) for layer in cache.layers]

    def dynamic_cache(self) -> DynamicCache:
        """A new transformers cache with these keys and values; additions to it do not change this object."""
        return DynamicCache(self.layers)

    def next_positions(self, count: int) -> Tensor:
        """Position ids (..., B, count) of the next `count` text tokens."""
        return self.last_position + torch.arange(1, count + 1, device=self.last_position.device)

    def append(self, ids: Tensor) -> Tensor:
        """Run the language model on further text tokens (B, n); returns their hidden states (B, n, d)."""
        count = ids.shape[1]
        cache = self.dynamic_cache()
        mask = torch.cat([self.mask, self.mask.new_ones(len(ids), count)], dim=1)
        output = self.backbone.adapter.text_model(self.backbone.model)(
            inputs_embeds=self.backbone.word_embedding()(ids),
            attention_mask=mask,
            position_ids=self.next_positions(count),
            past_key_values=cache,
            use_cache=True,
        )
        self.layers = [(layer.keys, layer.values) for layer in cache.layers]
        self.mask, self.last_position = mask, self.next_positions(count)[..., -1:]
        self.hidden = torch.cat([self.hidden, output.last_hidden_state], dim=1)
        return output.last_hidden_state
