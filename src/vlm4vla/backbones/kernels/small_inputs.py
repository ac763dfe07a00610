"""Small models on a CPU: the inputs of the text layers with fewer operations.

transformers compares the embedding of every token with that of the image token, merges text and image
through masks as large as the embeddings, and lets each layer turn the attention mask into numbers. In a small
model, that takes a tenth of a training step. Here, image features are written at the indices of the image
tokens, and the attention mask is made once, as the numbers that are added to the scores. The values are those
of transformers. Nothing is kept from one batch to the next.

The same models and tensors are changed as in small_models.py, in the same way. Inputs that training does not
use (videos, cached keys, outputs of layers, ...) go to transformers' own forward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlm4vla.backbones.kernels.small_models import change_modules, has_own_attention, is_small

IMAGE_INPUTS = (  # of Qwen's vision encoders
    "image_grid_thw",
    "image_position_ids",
    "image_cu_seqlens",
    "image_max_seqlen",
    "image_window_index",
    "image_cu_window_seqlens",
    "image_max_window_seqlen",
    "image_interp_indices",
    "image_interp_weights",
)
REQUIRED = {"attention_mask", "position_ids", "pixel_values"}
KNOWN = {*REQUIRED, *IMAGE_INPUTS, "input_ids", "inputs_embeds", "token_type_ids", "use_cache"}


def placed(embeddings: Tensor, index: Tensor, features: Tensor) -> Tensor:
    """`embeddings` (B, T, d) with `features` (N, d) in the rows `index` (N,) of the B * T rows."""
    rows = embeddings.flatten(0, 1)
    return rows.index_copy(0, index, features.to(rows.dtype)).view_as(embeddings)


def image_rows(model: PreTrainedModel, ids: Tensor | None, embeddings: Tensor) -> Tensor:
    """Which of the B * T rows are image tokens: (N,) int64, ascending.

    `ids` (B, T). Without them, a token of `embeddings` (B, T, d) is an image token if it has the embedding of
    one, as in transformers. One column is compared first, and whole rows only where it is equal.
    """
    if ids is not None:
        return (ids == model.config.image_token_id).flatten().nonzero().squeeze(1)
    with torch.no_grad():
        rows = embeddings.flatten(0, 1)
        pattern = model.get_input_embeddings()(torch.tensor(model.config.image_token_id))
        found = (rows[:, 0] == pattern[0]).nonzero().squeeze(1)
        candidates = rows.index_select(0, found)
        if not torch.equal(candidates, pattern.expand_as(candidates)):
            found = found[(candidates == pattern).all(-1)]
        return found


def added_mask(real: Tensor, types: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of attention, (B or 1, 1, T, T): 0, or the lowest number of `dtype`.

    `real` (B, T): not zero where a token is no padding. A token attends to itself and to the real tokens
    before it. Tokens whose `types` (B, T) are 0 also attend to each other in both directions (PaliGemma).
    """
    length = real.shape[1]
    zero, least = torch.zeros((), dtype=dtype), torch.finfo(dtype).min
    added = torch.full((1, length, length), least, dtype=dtype).triu(1)
    if types is not None:
        both = torch.where(types == 0, zero, least)
        added = torch.maximum(added, torch.minimum(both[:, :, None], both[:, None, :]))
    if not real.all():
        added = torch.minimum(added, torch.where(real != 0, zero, least)[:, None, :])
    return added.unsqueeze(1)


class _PlacedImages(nn.Module):
    """The model without its output layer: merges embeddings and image features."""

    def forward(self, *arguments: Any, **inputs: Any) -> Any:
        given = {name: value for name, value in inputs.items() if value is not None}
        ids, embeddings = given.get("input_ids"), given.get("inputs_embeds")
        is_usual = REQUIRED <= given.keys() <= KNOWN and (ids is None) != (embeddings is None)
        if arguments or not is_usual or not is_small(self.get_input_embeddings().weight):
            return super().forward(*arguments, **inputs)
        if embeddings is None:
            embeddings = self.get_input_embeddings()(ids)
        rows = image_rows(self, ids, embeddings)
        vision = {name: given[name] for name in IMAGE_INPUTS if name in given}
        seen = self.get_image_features(pixel_values=given["pixel_values"], return_dict=True, **vision)
        features = seen.pooler_output
        features = torch.cat(features) if isinstance(features, tuple) else features.flatten(0, 1)
        if features.shape != (len(rows), embeddings.shape[-1]):
            return super().forward(**inputs)  # which raises its own error
        rest = {name: value for name, value in given.items() if name in ("position_ids", "use_cache")}
        rest["inputs_embeds"] = placed(embeddings, rows, features)
        mask, types = given["attention_mask"], given.get("token_type_ids")
        if _takes_added_mask(self, mask, embeddings):
            rest["attention_mask"] = added_mask(mask, types, embeddings.dtype)
        else:
            rest |= {"attention_mask": mask} | ({} if types is None else {"token_type_ids": types})
        return self._read(rest, rows, seen)

    def _read(self, inputs: dict[str, Any], rows: Tensor, seen: Any) -> Any:
        output = super().forward(**inputs)
        if hasattr(output, "image_hidden_states"):
            output.image_hidden_states = seen.pooler_output
        return output


class _PlacedDeepStack(_PlacedImages):
    """As `_PlacedImages`; further features are added after the first text layers."""

    def _read(self, inputs: dict[str, Any], rows: Tensor, seen: Any) -> Any:
        further = [torch.cat(features) for features in seen.deepstack_features]
        return self.language_model(**inputs, visual_pos_masks=rows, deepstack_visual_embeds=further)


class _DeepStackText(nn.Module):
    """Text layers that take row numbers from `_PlacedDeepStack` instead of a mask."""

    def _deepstack_process(self, hidden_states: Tensor, visual_pos_masks: Tensor, visual_embeds: Tensor):
        if visual_pos_masks.dtype == torch.bool:
            return super()._deepstack_process(hidden_states, visual_pos_masks, visual_embeds)
        rows = hidden_states.flatten(0, 1)
        return rows.index_add(0, visual_pos_masks, visual_embeds.to(rows.dtype)).view_as(hidden_states)


def _takes_added_mask(model: PreTrainedModel, mask: Tensor, embeddings: Tensor) -> bool:
    """Whether all text layers read the same causal mask, and this package's attention reads it."""
    text, length = model.config.get_text_config(), embeddings.shape[1]
    windows = "sliding_attention" in (getattr(text, "layer_types", None) or ())
    return (
        mask.shape == embeddings.shape[:2]
        and has_own_attention(text, length)
        and not (windows and length > text.sliding_window)
    )


KINDS: dict[str, type] = {  # by the name of a class of transformers
    "Qwen2_5_VLModel": _PlacedImages,
    "PaliGemmaModel": _PlacedImages,
    "InternVLModel": _PlacedImages,
    "Qwen3VLModel": _PlacedDeepStack,
    "Qwen3VLMoeModel": _PlacedDeepStack,
    "Qwen3VLTextModel": _DeepStackText,
    "Qwen3VLMoeTextModel": _DeepStackText,
}


def use_small_inputs(model: PreTrainedModel) -> None:
    """Change a small model in place; see this file's docstring."""
    change_modules(model, KINDS)
