"""Kosmos-2: CLIP features resampled by latent queries, sinusoidal positions, grounding phrases.

Not obvious:
- The placeholders are the ids after the unknown token, as in the family's processor. A mask marks the image's
  positions; the values of the placeholders do not matter.
- Position ids start after the padding id, and padding has the padding id. They are therefore always passed.
- `reading.image: before-text` puts the image tokens before a text that has the special tokens of the
  tokenizer around it and the word <image_pad> between the image tags.
- The model has no inner `.model` that takes images. `last_hidden` joins the parts as the model's `forward`
  does.
- The tiny config has no dropout (the real one has 0.1 in the text model). The same seed must give the same
  bytes after a resumed run, and such a small model does not overfit.
- The image features are L2-normalised. They are therefore small compared with the latent queries of unit
  variance and with the sinusoidal positions. The tiny model starts with a projection eight times that of
  transformers.
- `freeze: vision` freezes the CLIP tower without the latent-query projection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Kosmos2Config, PreTrainedModel

from vlm4vla.backbones.adapter import TINY_MEAN, TINY_STD, Adapter
from vlm4vla.backbones.kernels.padding_free import is_padding_free, run_packed
from vlm4vla.backbones.tiny_sizes import PATCH, TINY_POSITIONS
from vlm4vla.backbones.tiny_tokenizer import BOS, EOS
from vlm4vla.config.backbones import TinySize

PROJECTION_SCALE = 8.0
BEFORE_TEXT = "before-text"


@contextlib.contextmanager
def _no_mask(text: PreTrainedModel) -> Iterator[None]:
    """Stop `text` from building an N x N causal mask for N tokens; padding-free attention takes no mask."""
    text._prepare_decoder_attention_mask = lambda *_: None
    try:
        yield
    finally:
        del text._prepare_decoder_attention_mask


class Kosmos2(Adapter):
    family = model_type = "kosmos-2"
    plainly_causal = True
    end = EOS
    before_image = f"{BOS}<image>"
    # In any text, the ids right after the unknown token mean the image, so no word may have them.
    phrases = (*(f"<image{index}>" for index in range(64)), "<image>", "</image>", "<p>", "\n</p>")

    def placeholders(self) -> list[int]:
        first = self.tokenizer.unk_token_id + 1
        return list(range(first, first + self.config.latent_query_num))

    def processor_files(self) -> dict[str, dict[str, Any]]:
        # AutoProcessor's own table of model types lacks this family, so the folder names the class.
        own = {"processor_class": "Kosmos2Processor"}
        if "<patch_index_0000>" not in self.tokenizer.get_vocab():
            own["num_patch_index_tokens"] = 0
        return {"processor_config.json": own}

    def instruction(self, instruction: str) -> str:
        return instruction

    def _place_image(self) -> None:
        super()._place_image()
        if self.reading.image == BEFORE_TEXT:
            self.before, self.image_start = [], 0

    def after_image(self, text: str) -> str:
        if self.reading.image == BEFORE_TEXT:
            return f"{BOS}{self.before_image}<image_pad></image><p>{text}\n</p>{EOS}"
        return f"</image><p>{text}\n</p>"

    def next_turn(self, text: str) -> str:
        return f"<p>{text}\n</p>"

    def positions(self, length: int) -> Tensor:
        return torch.arange(length) + self.config.text_config.pad_token_id + 1

    def extras(self, is_image: Tensor, real: Tensor) -> dict[str, Tensor]:
        return {"image_embeds_position_mask": is_image.long()}

    def extend(self, batch: dict[str, Any], count: int = 1) -> dict[str, Any]:
        mask = nn.functional.pad(batch["image_embeds_position_mask"], (0, count))
        return super().extend(batch, count) | {"image_embeds_position_mask": mask}

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.vision_model]

    @staticmethod
    def _image_embeddings(model: PreTrainedModel, pixel_values: Tensor) -> Tensor:
        vision = model.vision_model.model
        features = vision.post_layernorm(vision(pixel_values).last_hidden_state)
        embeddings, _ = model.image_to_text_projection(nn.functional.normalize(features, dim=-1))
        return embeddings

    def language_model(self, model: PreTrainedModel) -> nn.Module:
        return model.text_model

    def projector(self, model: PreTrainedModel) -> nn.Module:
        return model.image_to_text_projection

    def see(self, model: PreTrainedModel, inputs: dict[str, Any]) -> None:
        self._image_embeddings(model, **inputs)

    def last_layer(self, model: PreTrainedModel) -> list[nn.Module]:
        text = model.text_model.model
        return [text.layers[-1].self_attn.out_proj, text.layers[-1].ffn, text.layer_norm]

    def last_hidden(self, model: PreTrainedModel, embeddings: Tensor, inputs: dict[str, Any]) -> Tensor:
        inputs = dict(inputs)
        inputs["image_embeds"] = self._image_embeddings(model, inputs.pop("pixel_values"))
        text = model.text_model.model
        if is_padding_free(model):
            with _no_mask(text):
                return run_packed(text, embeddings, inputs, per_token=["image_embeds_position_mask"])
        return text(inputs_embeds=embeddings, use_cache=False, **inputs).last_hidden_state

    @classmethod
    def tiny_config(cls, size: TinySize, tokenizer, image_size: int) -> Kosmos2Config:
        return Kosmos2Config(
            text_config={
                "vocab_size": len(tokenizer),
                "embed_dim": size.hidden,
                "ffn_dim": size.intermediate,
                "layers": size.layers,
                "attention_heads": size.heads,
                "max_position_embeddings": TINY_POSITIONS,
                "dropout": 0.0,
                "attention_dropout": 0.0,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": tokenizer.convert_tokens_to_ids(BOS),
                "eos_token_id": tokenizer.convert_tokens_to_ids(EOS),
            },
            vision_config={
                "hidden_size": size.vision_hidden,
                "intermediate_size": size.vision_intermediate,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.vision_heads,
                "image_size": image_size,
                "patch_size": PATCH,
            },
            latent_query_num=(image_size // PATCH) ** 2,
            tie_word_embeddings=True,
        )

    @classmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        side = {"height": image_size, "width": image_size}
        return CLIPImageProcessorPil(size=side, crop_size=side, image_mean=TINY_MEAN, image_std=TINY_STD)

    @classmethod
    def tiny_initialise(cls, model: PreTrainedModel) -> None:
        with torch.no_grad():
            model.image_to_text_projection.dense.weight.mul_(PROJECTION_SCALE)
