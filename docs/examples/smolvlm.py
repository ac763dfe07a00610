"""SmolVLM and SmolVLM2 as a family of the study: a new family in one file.

Not obvious:
- `pixel_values` has one axis more than in other families: samples, images per sample, channels, rows,
  columns. The model merges the first two axes. All images of a batch are therefore passed as images of one
  sample, which is also what its image processor returns for a list.
- The released processors cut a large image into tiles. A policy sees its image whole (`image_options`).
- The tiny config does not shuffle pixels (`scale_factor` 1), so 16 patches stay 16 tokens.
- `freeze: vision` freezes the vision encoder, not the connector.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel, SmolVLMConfig

from vlm4vla.extensions import (
    BOS,
    INSTRUCTION,
    PATCH,
    TINY_MEAN,
    TINY_POSITIONS,
    TINY_STD,
    Adapter,
    TinySize,
    family,
)

IMAGE, AROUND, END = "<image>", "<fake_token_around_image>", "<end_of_utterance>"
ANSWER = f"{END}\nAssistant:"
NEXT = "\nUser: "


@family
class SmolVLM(Adapter):
    family = model_type = "smolvlm"
    end = END
    before_image = f"<|im_start|>User:{AROUND}<global-img>"
    phrases = (before_image, IMAGE, AROUND, ANSWER, END, NEXT, INSTRUCTION)
    image_options: ClassVar[dict[str, Any]] = {"do_image_splitting": False}

    def placeholders(self) -> list[int]:
        side = self.image_size // self.config.vision_config.patch_size // self.config.scale_factor
        return [self.config.image_token_id] * side**2

    def after_image(self, text: str) -> str:
        return AROUND + text + ANSWER

    def next_turn(self, text: str) -> str:
        return NEXT + text + ANSWER

    def pixels(self, pixels: Tensor) -> Tensor:
        return pixels[None]

    def check_pixels(self, pixel_values: Tensor, images: Tensor) -> None:
        super().check_pixels(pixel_values[0], images)

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.model.vision_model]

    def projector(self, model: PreTrainedModel) -> nn.Module:
        return model.model.connector

    def text_model(self, model: PreTrainedModel) -> PreTrainedModel:
        return model.model.text_model

    def last_layer(self, model: PreTrainedModel) -> list[nn.Module]:
        text = model.model.text_model
        return [text.layers[-1].self_attn.o_proj, text.layers[-1].mlp, text.norm]

    @classmethod
    def tiny_config(cls, size: TinySize, tokenizer, image_size: int) -> SmolVLMConfig:
        return SmolVLMConfig(
            text_config={
                "model_type": "llama",
                "vocab_size": len(tokenizer),
                "hidden_size": size.hidden,
                "intermediate_size": size.intermediate,
                "num_hidden_layers": size.layers,
                "num_attention_heads": size.heads,
                "num_key_value_heads": size.key_value_heads,
                "max_position_embeddings": TINY_POSITIONS,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": tokenizer.convert_tokens_to_ids(BOS),
                "eos_token_id": tokenizer.convert_tokens_to_ids(END),
                "tie_word_embeddings": True,
            },
            vision_config={
                "hidden_size": size.vision_hidden,
                "intermediate_size": size.vision_intermediate,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.vision_heads,
                "image_size": image_size,
                "patch_size": PATCH,
            },
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            scale_factor=1,
            tie_word_embeddings=True,
        )

    @classmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

        edge = {"longest_edge": image_size}
        return SmolVLMImageProcessorPil(
            size=edge, max_image_size=edge, do_image_splitting=False, image_mean=TINY_MEAN, image_std=TINY_STD
        )
