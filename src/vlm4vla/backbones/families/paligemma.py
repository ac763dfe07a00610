"""PaliGemma 1 and 2: a SigLIP vision encoder, Gemma or Gemma 2 text, and no chat format.

Not obvious:
- Both have the model_type `paligemma`; the model_type of the text config distinguishes them.
- Every batch has `token_type_ids`. Without them, Gemma 1 attends to text in both directions if nothing is
  padded, and causally if something is. Tokens of type 0 attend to each other in both directions, those of
  type 1 are causal. Pre-training, and by default the VLA, give type 0 to image tokens only. In the released
  model's own format, the prompt has type 0 too: `reading.attention: prefix`.
- Positions start at 1.
- `freeze: vision` freezes the SigLIP tower without the linear projector. The drop of the study's trainable
  size from 2.9B to 2.5B fits the tower of 0.4B, but does not show whether the projector's 2M are included.
- SigLIP's pooling head is left out (`vision_use_head`), because no output uses it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PaliGemmaConfig, PreTrainedConfig, PreTrainedModel

from vlm4vla.backbones.adapter import TINY_MEAN, TINY_STD, Adapter
from vlm4vla.backbones.tiny_sizes import PATCH, TINY_POSITIONS
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

    def processor_files(self) -> dict[str, dict[str, Any]]:
        return {"preprocessor_config.json": {"image_seq_length": self.image_tokens}}

    def instruction(self, instruction: str) -> str:
        return instruction

    def after_image(self, text: str) -> str:
        return f"{self.tokenizer.bos_token}{text}\n"

    def next_turn(self, text: str) -> str:
        return f"{text}\n"

    def end_id(self) -> int:
        return self.tokenizer.eos_token_id  # a tiny tokenizer has another name for it than Gemma's tokenizer

    def positions(self, length: int) -> Tensor:
        return torch.arange(1, length + 1)

    def extras(self, is_image: Tensor, real: Tensor) -> dict[str, Tensor]:
        causal = {
            "image": ~is_image,
            "prefix": torch.zeros_like(is_image),
            "causal": torch.ones_like(is_image),
        }
        return {"token_type_ids": causal[self.reading.attention].long()}

    def extend(self, batch: dict[str, Any], count: int = 1) -> dict[str, Any]:
        types = nn.functional.pad(batch["token_type_ids"], (0, count), value=1)
        return super().extend(batch, count) | {"token_type_ids": types}

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.model.vision_tower]

    @classmethod
    def tiny_text(cls, size: TinySize, tokenizer) -> dict[str, Any]:
        """The text config of Gemma 1; Gemma does not derive `head_dim` from the width."""
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
        """The text config of Gemma 2, which has no sdpa attention because of the soft cap on its scores."""
        return super().tiny_text(size, tokenizer) | {
            "query_pre_attn_scalar": size.hidden // size.heads,
            "sliding_window": TINY_POSITIONS,
        }
