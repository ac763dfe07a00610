"""What a family has to say about itself; everything else is shared.

`LoadedBackbone` (loaded.py) is the only caller: it asks for the prompt's pieces when text becomes ids, for
`layout` and `extras` when ids become a batch, for `pixels` when pictures become one, and for `last_hidden`
in every VLA forward. `build` asks for the `tiny_*` parts.

Every family puts one picture at a fixed place of the sequence, so placeholders, position ids and the
vision encoder's index tensors are computed once and gathered, never searched for sample by sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from vlm4vla.backbones.kernels.padding_free import is_padding_free, packed
from vlm4vla.config.backbones import TinySize

INSTRUCTION = "What action should the robotic arm take to"  # the study's prompt for chat families
PATCH = 16  # pixels a side of a tiny backbone's patch: 64x64 pictures give 16 image tokens
# Mean and deviation of the embedded pre-training pictures (0..1). The released processors' own are made for
# photographs: with them a tiny backbone sees little more than the brightness of the table.
TINY_MEAN, TINY_STD = [0.41] * 3, [0.16] * 3
TINY_POSITIONS = 512  # tokens a tiny backbone can read


class Adapter(ABC):
    """One family. Subclasses hold no weights: methods get the model."""

    family: ClassVar[str]  # key of backbones.FAMILIES, or a registered one (vlm4vla.extensions)
    model_type: ClassVar[str]  # transformers' name
    end: ClassVar[str]  # token that ends an answer
    phrases: ClassVar[tuple[str, ...]]  # special tokens and whole template phrases of a tiny tokenizer
    attention: ClassVar[str | dict[str, str]] = "sdpa"  # transformers' attn_implementation
    plainly_causal: ClassVar[bool] = False  # whether no token sees a later one, not even in a picture
    image_options: ClassVar[dict[str, Any]] = {}  # of the image processor's call, over those of its folder
    is_read: ClassVar[bool] = True  # whether expert heads can read a registered family's language model

    def __init__(self, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, image_size: int):
        self.config = config
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.before = self.encode(self.before_image)
        self.image_ids = self.placeholders()
        self.image_start = len(self.before)
        self.image_tokens = len(self.image_ids)

    @classmethod
    def serves(cls, config: PreTrainedConfig) -> bool:
        """Whether this adapter is the one for a loaded config (families may share a model_type)."""
        return config.model_type == cls.model_type

    # Prompts ------------------------------------------------------------------------------------------

    before_image: ClassVar[str]  # text before the image's placeholders

    @abstractmethod
    def placeholders(self) -> list[int]:
        """Token ids that stand for one picture."""

    @abstractmethod
    def after_image(self, text: str) -> str:
        """What follows the picture when `text` is the first question, up to where the answer starts."""

    @abstractmethod
    def next_turn(self, text: str) -> str:
        """What follows an answer when `text` is the next question about the same picture."""

    def instruction(self, instruction: str) -> str:
        """The first turn's text of a VLA prompt."""
        return f"{INSTRUCTION} {instruction}"

    def encode(self, text: str) -> list[int]:
        """Ids of a piece of text; the family's own special tokens are written out, none are added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def end_id(self) -> int:
        """Id of the token that ends an answer."""
        return self.tokenizer.convert_tokens_to_ids(self.end)

    # Batches ------------------------------------------------------------------------------------------

    def positions(self, length: int) -> Tensor:
        """Position ids of an unpadded sequence, (..., length) int64."""
        return torch.arange(length)

    def pixels(self, pixels: Tensor) -> Tensor:
        """The model's `pixel_values` from normalised pixels (B, 3, H, W) float32."""
        return pixels

    def check_pixels(self, pixel_values: Tensor, images: Tensor) -> None:
        """Raise ValueError where the image processor made more or fewer tokens of `images` (B, H, W, 3) than
        `image_tokens` for each."""
        if len(pixel_values) != len(images):
            raise ValueError(
                f"the image processor made {len(pixel_values)} pictures of {len(images)}: switch off cutting "
                "pictures into tiles in its preprocessor_config.json"
            )

    def vision_inputs(self, batch: int) -> dict[str, Any]:
        """Vision inputs beside `pixel_values` for `batch` pictures."""
        return {}

    def extras(self, is_image: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Further per-token inputs. `is_image`, `real`: (B, T) bool."""
        return {}

    def extend(self, batch: dict[str, Any], count: int = 1) -> dict[str, Any]:
        """Per-token inputs with `count` text tokens more on the right, without input_ids."""
        longer = {name: value for name, value in batch.items() if name != "input_ids"}
        longer["attention_mask"] = nn.functional.pad(batch["attention_mask"], (0, count), value=1)
        positions = batch["position_ids"]
        steps = torch.arange(1, count + 1, device=positions.device)
        # what follows is text: one step on every axis
        longer["position_ids"] = torch.cat([positions, positions[..., -1:] + steps], dim=-1)
        return longer

    # Modules ------------------------------------------------------------------------------------------

    @abstractmethod
    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        """What `freeze: vision` freezes; see each family for the projector's place."""

    def word_embedding(self, model: PreTrainedModel) -> nn.Module:
        """What `freeze: embedding` freezes (and with it a tied output layer, which no VLA uses)."""
        return model.get_input_embeddings()

    def last_hidden(self, model: PreTrainedModel, embeddings: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Hidden states after the final norm, (B, T, d), from embeddings (B, T, d) and `extend`ed inputs.

        Calls the model without its output layer, so no logits over the vocabulary exist. T may come back
        shorter, cut on the left (last_position.py).
        """
        if is_padding_free(model):
            return packed(model.model, embeddings, inputs)
        return model.model(inputs_embeds=embeddings, use_cache=False, **inputs).last_hidden_state

    def text_model(self, model: PreTrainedModel) -> PreTrainedModel:
        """The language model without its output layer (backbones.reading; not for backbones.NOT_READ)."""
        return model.model.language_model

    def read(self, model: PreTrainedModel, embeddings: Tensor, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Hidden states after the final norm (B, T, d), and transformers' cache of keys and values."""
        output = model.model(inputs_embeds=embeddings, use_cache=True, **inputs)
        return output.last_hidden_state, output.past_key_values

    def projector(self, model: PreTrainedModel) -> nn.Module:
        """The module that gives the picture's tokens as the language model reads them."""
        return model.model.multi_modal_projector

    def see(self, model: PreTrainedModel, inputs: dict[str, Any]) -> None:
        """Run the vision encoder and the projector alone on `LoadedBackbone.encode_images`' inputs."""
        model.model.get_image_features(**inputs)

    def last_layer(self, model: PreTrainedModel) -> list[nn.Module]:
        """The last text layer's modules that add to the residual stream, and the norm after it."""
        text = model.model.language_model
        return [text.layers[-1].self_attn.o_proj, text.layers[-1].mlp, text.norm]

    def prepare(self, model: PreTrainedModel) -> None:  # noqa: B027, most families need nothing
        """Settings of a loaded model that are no part of its folder."""

    def prepare_training(self, model: PreTrainedModel) -> None:  # noqa: B027, most families need nothing
        """Set `forward` on modules that have one of the same numbers for the accelerator at hand.

        training/distributed/model_options.py takes it off again.
        """

    # Tiny backbones -----------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def tiny_config(
        cls, size: TinySize, tokenizer: PreTrainedTokenizerBase, image_size: int
    ) -> PreTrainedConfig:
        """The transformers config of these widths."""

    @classmethod
    @abstractmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        """The family's own image processor for square pictures of this side, which are not resized."""

    @classmethod  # noqa: B027, most families need nothing
    def tiny_initialise(cls, model: PreTrainedModel) -> None:
        """Changes to transformers' own random weights, where a family needs them to learn at this size."""
