"""The adapter of models that write a block of words at once (DiffusionGemma).

Such a model reads image and text with an encoder, word after word. Its decoder then reads the encoder's keys
and values and a canvas, a block of words that all attend to each other, and its output layer gets the states
of the canvas. Here:
- The action query is a canvas of one word. Its state depends on the whole prompt and on itself.
- Answers are learnt by the encoder, whose states go to the same output layer. In the decoder, each word of an
  answer would see the words that it has to predict.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.forward import query_placed, states_kept, states_replaced
from vlm4vla.backbones.generic.parts import find_parts


class CanvasAdapter(GenericAdapter):
    """Any model type whose configuration has a `canvas_length`."""

    def query_state(self, model: PreTrainedModel, batch: dict[str, Any], query: Tensor) -> Tensor:
        inputs = self._canvas(model, batch)
        first = torch.zeros(len(batch["input_ids"]), dtype=torch.long, device=batch["input_ids"].device)
        parts = find_parts(model, self.source)
        embedding = parts.language.get_input_embeddings()  # the decoder's; the encoder has the same weights
        with query_placed(embedding, query, first, 1) as placed, states_kept(parts.output, 1) as kept:
            model(**inputs)
        self._check_once(placed, kept)
        return kept[0][:, 0]

    def hidden_states(self, model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
        with states_kept(find_parts(model, self.source).output, 1):
            return model(**self._canvas(model, batch)).encoder_last_hidden_state

    def logits(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        ids = torch.tensor([[self.query_id]], device=hidden.device)
        with states_replaced(find_parts(model, self.source).output, rows):
            found = model(input_ids=ids, decoder_input_ids=ids).logits
        return found.view(*hidden.shape[:-1], -1)

    def own_logits(self, model: PreTrainedModel, batch: dict[str, Any], word: int | None = None) -> Tensor:
        inputs = self.own_inputs(batch)
        if word is not None:
            ids = torch.full((len(batch["input_ids"]), 1), word)
            return model(**inputs, decoder_input_ids=ids).logits
        states = model(**inputs).encoder_last_hidden_state
        cap = model.config.get_text_config().final_logit_softcapping
        return torch.tanh(model.get_output_embeddings()(states) / cap) * cap

    def _canvas(self, model: PreTrainedModel, batch: dict[str, Any]) -> dict[str, Any]:
        """The inputs of the model's forward, padded on the left, with a canvas of one word.

        With padding on the left, a layer with a window keeps the keys and values of the newest words.
        """
        mask = batch["attention_mask"]
        one = mask.new_ones(len(mask), 1)
        return self._fitted(model, batch) | {
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "decoder_input_ids": one * self.query_id,
            "decoder_position_ids": mask.sum(1, keepdim=True),
            "decoder_attention_mask": torch.cat([mask, one], dim=1),
        }
