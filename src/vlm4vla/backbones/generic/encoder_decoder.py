"""The adapter of models with an encoder and a decoder, such as Florence-2 and T5Gemma 2.

The encoder reads the prompt: image and instruction. The decoder reads its start token and the action query.

The rest of the code knows one sequence for each sample. It is kept: a prompt ends with the decoder's start
token, and everything from that token on is the decoder's. For fine-tuning, answers are thus the decoder's
words, and the start token predicts the first of them. Later questions of a conversation are the decoder's
words as well, because the encoder must not see the answers before them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.processing_utils import ProcessorMixin

from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.forward import moved, query_placed, states_kept, states_replaced
from vlm4vla.backbones.generic.parts import find_parts, text_decoder
from vlm4vla.core.errors import UserError

NO_TEXT = "its encoder reads an image only, and an instruction has to go to the encoder"
# Types whose encoder does not read an image and any text.
REFUSED = {
    "pix2struct": f"{NO_TEXT}: its processor gives a text to the decoder, or draws it into the image",
    "vision-encoder-decoder": NO_TEXT,
    "udop": "it has no vision encoder: one encoder reads patches and the words that OCR finds in the image",
}


class EncoderDecoderAdapter(GenericAdapter):
    """Any encoder-decoder model whose encoder reads image and text."""

    def __init__(self, config: Any, processor: ProcessorMixin, image_size: int, source: str = "the backbone"):
        if config.model_type in REFUSED:
            raise UserError(f"{source}: {REFUSED[config.model_type]}")
        self.start_id = start_id_of(config, source)
        self.start: list[int] = []
        super().__init__(config, processor, image_size, source)
        # What the processor puts behind a text ends the encoder's part, and the start token begins the other.
        self.start = [*self.layout.behind, self.start_id]
        self.start_text = "".join(processor.tokenizer.convert_ids_to_tokens(self.start))
        if self.encode(self.after_image(layouts.SHORT))[-len(self.start) :] != self.start:
            raise UserError(
                f"{source}: the tokenizer does not read {self.start_text!r} as the tokens between prompt and "
                "answer: register a family of your own for it (docs/your-own-study.md)"
            )

    # Prompts ------------------------------------------------------------------------------------------

    def after_image(self, text: str) -> str:
        return super().after_image(text) + (self.start_text if self.start else "")

    # Model --------------------------------------------------------------------------------------------

    def own_inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        return self._divided(batch)[0]

    def _divided(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
        """The inputs of the model's forward for a batch of whole sequences.

        Also returns, for each row, the padding, the number of the encoder's ids and that of the decoder's.
        """
        inputs, padding = self._right_padded(batch)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        lengths = mask.sum(1)
        encoder = self._encoder_lengths(ids, lengths)
        longest = int(encoder.max())
        index = torch.arange(longest, device=ids.device)
        for name in ("input_ids", "attention_mask", *self.layout.tokens):
            inputs[name] = inputs[name][:, :longest]
        inputs["attention_mask"] = (index < encoder[:, None]).to(mask.dtype)
        # The padding's ids are behind all others here, and no word of a decoder sees those behind it.
        decoder = lengths - encoder
        steps = torch.arange(int(decoder.max()), device=ids.device)
        places = (encoder[:, None] + steps).clamp(max=ids.shape[1] - 1)
        inputs["decoder_input_ids"] = torch.gather(ids, 1, places)
        return inputs, padding, encoder, decoder

    def _encoder_lengths(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The number (B,) of ids before the decoder's start token, for ids padded on the right."""
        start = torch.tensor(self.start, device=ids.device)
        found = (ids.unfold(1, len(start), 1) == start).all(-1)  # (B, T - len(start) + 1)
        index = torch.arange(found.shape[1], device=ids.device)
        first = self.image_start + self.image_tokens
        found &= (index >= first) & (index + len(start) <= lengths[:, None])
        if not bool(found.any(1).all()):
            raise ValueError("every sequence needs the start token of the decoder behind its prompt")
        return found.int().argmax(1) + len(start) - 1

    def query_state(self, model: PreTrainedModel, batch: dict[str, Any], query: Tensor) -> Tensor:
        ids = batch["input_ids"]
        longer = self.extend(batch)
        longer["input_ids"] = torch.cat([ids, ids.new_full((len(ids), 1), self.query_id)], dim=1)
        inputs, _, _, decoder = self._divided(longer)
        length = inputs["decoder_input_ids"].shape[1]
        parts, embedding = find_parts(model, self.source), self._decoder_embedding(model)
        with (
            query_placed(embedding, query, decoder - 1, length) as placed,
            states_kept(parts.output, length, decoder - 1) as kept,
        ):
            model(**self._fitted(model, inputs), use_cache=False)
        self._check_once(placed, kept)
        return kept[0][:, 0]

    def _decoder_embedding(self, model: PreTrainedModel) -> nn.Module:
        """The decoder's word embedding, which is another module than the encoder's, with the same weights."""
        return text_decoder(model).get_input_embeddings()

    def hidden_states(self, model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
        """The decoder's states at the places of its ids in the sequence, and zeros at the encoder's."""
        inputs, padding, encoder, decoder = self._divided(batch)
        length = inputs["decoder_input_ids"].shape[1]
        with states_kept(find_parts(model, self.source).output, length) as kept:
            model(**self._fitted(model, inputs), use_cache=False)
        states = kept[0]
        places = torch.arange(batch["input_ids"].shape[1], device=states.device) - encoder[:, None]
        is_decoder = (places >= 0) & (places < decoder[:, None])
        index = places.clamp(0, length - 1)[..., None].expand(-1, -1, states.shape[-1])
        whole = torch.gather(states, 1, index) * is_decoder[..., None].to(states.dtype)
        return moved(whole, padding, left=True)

    def _ending(self, model: PreTrainedModel, output: nn.Module, rows: Tensor) -> Tensor:
        ids = torch.tensor([[self.start_id]], device=rows.device)
        with states_replaced(output, rows):
            return model(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits[0]


def start_id_of(config: Any, source: str) -> int:
    """The id of the token that the decoder starts with.

    A configuration without it, such as that of T5Gemma 2, starts with the decoder's beginning of a text.
    """
    decoder = config.get_text_config(decoder=True)
    named = [getattr(part, "decoder_start_token_id", None) for part in (config, decoder)]
    for token in (*named, getattr(decoder, "bos_token_id", None)):
        if isinstance(token, int):
            return token
    raise UserError(f"{source}: config.json names no decoder_start_token_id: add it")
