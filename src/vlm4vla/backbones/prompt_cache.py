"""A prompt that a language model has read, and how it reads on.

For heads that say words or attend to the backbone layer by layer: the picture and the instruction are read
once, their keys and values are kept, and what follows reads them. Gradients flow through what is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vlm4vla.backbones.loaded import LoadedBackbone


class Reading:
    """Attributes: `hidden` (B, T, d), after the final norm; `mask` (B, T), 1 where a token is real;
    `position`, the last token's, (..., B, 1); `layers`, keys and values (B, heads, T, size) of each layer."""

    def __init__(self, backbone: LoadedBackbone, inputs: dict[str, Any]):
        """Read a `LoadedBackbone.batch`."""
        rest = dict(inputs)
        embeddings = backbone.word_embedding()(rest.pop("input_ids"))
        self.backbone = backbone
        self.hidden, cache = backbone.adapter.read(backbone.model, embeddings, rest)
        self.mask: Tensor = inputs["attention_mask"]
        self.position: Tensor = inputs["position_ids"][..., -1:]
        self.layers: list[tuple[Tensor, Tensor]] = [(layer.keys, layer.values) for layer in cache.layers]

    def cache(self) -> DynamicCache:
        """A new cache of what was read; what reads from it may add to it."""
        return DynamicCache(self.layers)

    def positions(self, count: int) -> Tensor:
        """(..., B, count): the positions of `count` text tokens that come next."""
        return self.position + torch.arange(1, count + 1, device=self.position.device)

    def on(self, ids: Tensor) -> Tensor:
        """Read text tokens (B, n) after what was read; returns their hidden states (B, n, d)."""
        count = ids.shape[1]
        cache = self.cache()
        mask = torch.cat([self.mask, self.mask.new_ones(len(ids), count)], dim=1)
        output = self.backbone.adapter.text_model(self.backbone.model)(
            inputs_embeds=self.backbone.word_embedding()(ids),
            attention_mask=mask,
            position_ids=self.positions(count),
            past_key_values=cache,
            use_cache=True,
        )
        self.layers = [(layer.keys, layer.values) for layer in cache.layers]
        self.mask, self.position = mask, self.positions(count)[..., -1:]
        self.hidden = torch.cat([self.hidden, output.last_hidden_state], dim=1)
        return output.last_hidden_state
