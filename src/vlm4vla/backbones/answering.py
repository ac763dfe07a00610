"""Greedy answers of a backbone to questions about pictures, in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import hidden_states, logits


@torch.inference_mode()
def greedy_answers(
    backbone: LoadedBackbone, images: np.ndarray, questions: Sequence[str], longest: int
) -> list[str]:
    """One answer a question, of at most `longest` tokens; `images` (B, H, W, 3) uint8.

    Answers have few tokens, so each token reads the whole text again instead of keeping keys and values.
    """
    texts = [list(backbone.question_ids(question)) for question in questions]
    starts = [len(text) for text in texts]
    going = np.arange(len(texts))
    for _ in range(longest):
        batch = backbone.batch([texts[index] for index in going], images[going])
        best = logits(backbone, hidden_states(backbone, batch)[:, -1]).argmax(-1).numpy()  # (B,)
        for index, token in zip(going, best, strict=True):
            texts[index].append(int(token))
        going = going[best != backbone.end_id]
        if not len(going):
            break
    return [backbone.decode(text[start:]) for text, start in zip(texts, starts, strict=True)]
