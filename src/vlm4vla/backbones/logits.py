"""A backbone's logits at chosen positions only.

Most positions of a text are not learnt from, and the product with the vocabulary is a large part of a tiny
backbone's step; so the inner model runs first and the output layer where it is asked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlm4vla.backbones.loaded import LoadedBackbone


def hidden_states(backbone: LoadedBackbone, batch: dict[str, Any]) -> Tensor:
    """Hidden states after the final norm, (B, T, d), of a `LoadedBackbone.batch`."""
    inputs = dict(batch)
    embeddings = backbone.word_embedding()(inputs.pop("input_ids"))
    return backbone.adapter.last_hidden(backbone.model, embeddings, inputs)


def followed_by(backbone: LoadedBackbone, batch: dict[str, Any], ids: Tensor) -> dict[str, Any]:
    """`batch` (B, T) with text tokens `ids` (B, n) after every sequence: what `hidden_states` takes."""
    longer = backbone.adapter.extend(batch, ids.shape[1])
    return longer | {"input_ids": torch.cat([batch["input_ids"], ids], dim=1)}


def logits(backbone: LoadedBackbone, hidden: Tensor) -> Tensor:
    """Vocabulary logits (..., V) of hidden states (..., d), as the model's own forward makes them."""
    found = backbone.model.get_output_embeddings()(hidden)
    cap = getattr(backbone.model.config.get_text_config(), "final_logit_softcapping", None)
    return found if cap is None else torch.tanh(found / cap) * cap  # Gemma 2
