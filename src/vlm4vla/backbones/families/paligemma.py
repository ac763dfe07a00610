"""PaliGemma 1 and 2: SigLIP pictures before Gemma or Gemma 2 text; no chat format.

Not obvious:
- Both have model_type `paligemma`; the text config's model_type tells them apart.
- `token_type_ids` always go with a batch. Without them Gemma 1 reads text in both directions when nothing is
  padded and causally when something is. One convention everywhere, in pre-training and in the VLA: image
  tokens (type 0) see each other in both directions, text (type 1) is causal.
- Positions start at 1.
- `freeze: vision` freezes the SigLIP tower without the linear projector: the study's trainable sizes (2.9B
  to 2.5B) fit the tower of 0.4B, and cannot tell where 2M of projector went.
- SigLIP's pooling head is left out (`vision_use_head`), since no output uses it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PaliGemmaConfig, PreTrainedConfig, PreTrainedModel

from vlm4vla.backbones.adapter import PATCH, TINY_MEAN, TINY_POSITIONS, TINY_STD, Adapter
from vlm4vla.backbones.tiny_tokenizer import BOS, EOS
from vlm4vla.config.backbones import TinySize

IMAGE = "<image>"


class PaliGemma(Adapter):
    family = model_type = "paligemma"
    text_type: ClassVar[str] = "gemma"
    end = EOS
    phrases = (IMAGE, "\n")
    before_image = ""

    @classmethod
    def serves(cls, config: PreTrainedConfig) -> bool:
        return super().serves(config) and config.text_config.model_type == cls.text_type

    def placeholders(self) -> list[int]:
        return [self.config.image_token_index] * self.config.text_config.num_image_tokens

    def instruction(self, instruction: str) -> str:
        return instruction

    def after_image(self, text: str) -> str:
        return f"{self.tokenizer.bos_token}{text}\n"

    def next_turn(self, text: str) -> str:
        return f"{text}\n"

    def end_id(self) -> int:
        return self.tokenizer.eos_token_id  # a tiny tokenizer calls it otherwise than Gemma's

    def positions(self, length: int) -> Tensor:
        return torch.arange(1, length + 1)

    def extras(self, is_image: Tensor, real: Tensor) -> dict[str, Tensor]:
        return {"token_type_ids": (~is_image).long()}

    def extend(self, batch: dict[str, Any], count: int = 1) -> dict[str, Any]:
        types = nn.functional.pad(batch["token_type_ids"], (0, count), value=1)
        return super().extend(batch, count) | {"token_type_ids": types}

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.model.vision_tower]

    @classmethod
    def tiny_text(cls, size: TinySize, tokenizer) -> dict[str, Any]:
        """Keys of the text config, Gemma 1's; `head_dim` is not derived from the width by Gemma."""
        return {
            "model_type": cls.text_type,
            "vocab_size": len(tokenizer),
            "hidden_size": size.hidden,
            "intermediate_size": size.intermediate,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "head_dim": size.hidden // size.heads,
            "max_position_embeddings": TINY_POSITIONS,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.convert_tokens_to_ids(BOS),
            "eos_token_id": tokenizer.convert_tokens_to_ids(EOS),
        }

    @classmethod
    def tiny_config(cls, size: TinySize, tokenizer, image_size: int) -> PaliGemmaConfig:
        return PaliGemmaConfig(
            text_config=cls.tiny_text(size, tokenizer),
            vision_config={
                "model_type": "siglip_vision_model",
                "hidden_size": size.vision_hidden,
                "intermediate_size": size.vision_intermediate,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.vision_heads,
                "image_size": image_size,
                "patch_size": PATCH,
                "vision_use_head": False,
            },
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            vocab_size=len(tokenizer),
            projection_dim=size.hidden,
            hidden_size=size.hidden,
            tie_word_embeddings=True,
        )

    @classmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        side = {"height": image_size, "width": image_size}
        return SiglipImageProcessorPil(size=side, image_mean=TINY_MEAN, image_std=TINY_STD)


class PaliGemma2(PaliGemma):
    family = "paligemma2"
    text_type = "gemma2"
    attention: ClassVar[dict[str, str]] = {"text_config": "eager", "vision_config": "sdpa"}

    @classmethod
    def tiny_text(cls, size: TinySize, tokenizer) -> dict[str, Any]:
        """Gemma 2's keys. transformers has no sdpa attention for it, because of the soft cap on scores."""
        return super().tiny_text(size, tokenizer) | {
            "query_pre_attn_scalar": size.hidden // size.heads,
            "sliding_window": TINY_POSITIONS,
        }
