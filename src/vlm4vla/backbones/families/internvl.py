"""InternVL3.5: an InternViT vision encoder, a Qwen3 language model, and ChatML with its own image tags.

Not obvious:
- The tiny config has no pixel shuffle (`downsample_ratio` 1), so 16 patches give 16 tokens.
- No newline follows the closing image tag, as in the released code of the study. The chat template of the
  released model has one there.
- The released sizes from 4B on have a Qwen3 language model; positions are one-dimensional.
- `freeze: vision` freezes `vision_tower` without the projector, as in the other families that have the two as
  separate modules.
- With mean pooling, the vision encoder has no final norm, so every weight receives gradients.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import InternVLConfig, PreTrainedModel

from vlm4vla.backbones.adapter import TINY_MEAN, TINY_STD
from vlm4vla.backbones.families.chatml import ChatML
from vlm4vla.backbones.tiny_sizes import PATCH, TINY_POSITIONS
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError


class InternVL(ChatML):
    family = model_type = "internvl"
    image_open, image_token, image_close = "<img>", "<IMG_CONTEXT>", "</img>"

    def __init__(self, config, tokenizer, image_size):
        known = tokenizer.get_vocab()
        if self.image_close not in known:
            raise UserError(
                f"an InternVL tokenizer without the token {self.image_close!r}: use a complete checkpoint; a "
                "tiny backbone of an earlier version must be pre-trained again, because its prompt changed"
            )
        super().__init__(config, tokenizer, image_size)

    def placeholders(self) -> list[int]:
        vision = self.config.vision_config
        side = int(vision.image_size[0] // vision.patch_size[0] * self.config.downsample_ratio)
        return [self.config.image_token_id] * side**2

    def processor_files(self) -> dict[str, dict[str, Any]]:
        names = {
            "start_image_token": self.image_open,
            "end_image_token": self.image_close,
            "context_image_token": self.image_token,
            "video_token": "<video>",  # the name in the released tokenizer; no video reaches a policy
        }
        own = {"extra_special_tokens": names}
        return {
            "processor_config.json": {
                "image_seq_length": self.image_tokens,
                "video_processor": {"video_processor_type": "InternVLVideoProcessor"},
            },
            "tokenizer_config.json": {} if hasattr(self.tokenizer, "context_image_token") else own,
        }

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.model.vision_tower]

    @classmethod
    def tiny_config(cls, size: TinySize, tokenizer, image_size: int) -> InternVLConfig:
        return InternVLConfig(
            text_config={
                "model_type": "qwen3",
                "vocab_size": len(tokenizer),
                "hidden_size": size.hidden,
                "intermediate_size": size.intermediate,
                "num_hidden_layers": size.layers,
                "num_attention_heads": size.heads,
                "num_key_value_heads": size.key_value_heads,
                "head_dim": size.hidden // size.heads,
                "max_position_embeddings": TINY_POSITIONS,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": None,
                "eos_token_id": tokenizer.convert_tokens_to_ids(cls.end),
                "tie_word_embeddings": True,
            },
            vision_config={
                "hidden_size": size.vision_hidden,
                "intermediate_size": size.vision_intermediate,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.vision_heads,
                "attention_bias": True,
                "image_size": [image_size, image_size],
                "patch_size": [PATCH, PATCH],
            },
            image_token_id=tokenizer.convert_tokens_to_ids(cls.image_token),
            image_seq_length=(image_size // PATCH) ** 2,
            downsample_ratio=1.0,
            tie_word_embeddings=True,
        )

    @classmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

        return GotOcr2ImageProcessorPil(
            size={"height": image_size, "width": image_size},
            crop_to_patches=False,
            image_mean=TINY_MEAN,
            image_std=TINY_STD,
        )
