"""Hidden states, vocabulary logits and greedy answers of a backbone.

The inner model runs first; the output layer then runs only at the positions that are needed. Most positions
have no training target, and the product with the vocabulary is a large part of a tiny backbone's step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm4vla.backbones.kernels.last_position import last_position_only, positions_only
from vlm4vla.backbones.kernels.padding_free import is_padding_free
from vlm4vla.backbones.kernels.small_models import is_small_model
from vlm4vla.backbones.loaded import LoadedBackbone


def hidden_states(backbone: LoadedBackbone, batch: dict[str, Any]) -> Tensor:
    """Hidden states after the final norm, (B, T, d), for a `LoadedBackbone.batch`."""
    return backbone.adapter.hidden_states(backbone.model, batch)


def hidden_states_at(backbone: LoadedBackbone, batch: dict[str, Any], positions: Tensor) -> Tensor:
    """Hidden states (N, d) at the `positions` (B, T) bool, row by row.

    A small model computes its last layer only there. In a large one, that layer is a small part of the work.
    """
    model = backbone.model
    last_layer = backbone.adapter.last_layer(model)
    if is_padding_free(model) or not is_small_model(model) or not last_layer:
        return hidden_states(backbone, batch)[positions]
    with positions_only(last_layer, positions):
        return hidden_states(backbone, batch)[0]


def append_tokens(backbone: LoadedBackbone, batch: dict[str, Any], ids: Tensor) -> dict[str, Any]:
    """`batch` (B, T) with text tokens `ids` (B, n) after every sequence, as `hidden_states` takes it."""
    longer = backbone.adapter.extend(batch, ids.shape[1])
    return longer | {"input_ids": torch.cat([batch["input_ids"], ids], dim=1)}


def logits(backbone: LoadedBackbone, hidden: Tensor) -> Tensor:
    """Vocabulary logits (..., V) for hidden states (..., d), equal to those of the model's own forward."""
    return backbone.adapter.logits(backbone.model, hidden)


@torch.inference_mode()
def greedy_answers(
    backbone: LoadedBackbone, images: np.ndarray, questions: Sequence[str], longest: int
) -> list[str]:
    """Answer each question about its image by greedy decoding, with at most `longest` tokens.

    `images`: (B, H, W, 3) uint8. Answers are short, so each step runs the whole sequence again instead of
    caching keys and values.
    """
    model = backbone.model
    texts = [list(backbone.question_ids(question)) for question in questions]
    starts = [len(text) for text in texts]
    unfinished = np.arange(len(texts))
    for _ in range(longest):
        batch = backbone.batch([texts[index] for index in unfinished], images[unfinished])
        with last_position_only(backbone.adapter.last_layer(model), packed=is_padding_free(model)):
            states = hidden_states(backbone, batch)
        best = logits(backbone, states[:, -1]).argmax(-1).numpy()  # (B,)
        for index, token in zip(unfinished, best, strict=True):
            texts[index].append(int(token))
        unfinished = unfinished[best != backbone.end_id]
        if not len(unfinished):
            break
    return [backbone.decode(text[start:]) for text, start in zip(texts, starts, strict=True)]
