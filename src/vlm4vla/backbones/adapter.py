"""The adapter of a family: everything in which families differ. All other code is shared.

Who calls what:
- `LoadedBackbone` (loaded.py) calls the prompt methods to convert text to ids; `positions`, `extras` and
  `vision_inputs` to build a batch; `pixels` or `check_pixels` for the images of the batch; and `last_hidden`
  in every VLA forward.
- `build` calls the `tiny_*` methods.
- Expert heads and `PromptCache` call `text_model` and `read`.
- Training calls `see`, `projector` and `prepare_training`.

Every family puts one image at a fixed position of the sequence. Placeholders, position ids and the vision
encoder's index tensors are therefore computed once for all samples.
"""

from __future__ import annotations

import contextlib
import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from vlm4vla.backbones.kernels.last_position import last_position_only
from vlm4vla.backbones.kernels.padding_free import is_padding_free, run_packed
from vlm4vla.backbones.whole_words import WholeWords
from vlm4vla.config.backbones import TinySize
from vlm4vla.config.reading import Reading
from vlm4vla.core.errors import UserError

INSTRUCTION = "What action should the robotic arm take to"  # prompt of chat families, as in the study
# Mean and standard deviation of the embedded pre-training images (0..1). The released processors' own values
# are made for photographs; with them a tiny backbone learns little more than the brightness of the table.
TINY_MEAN, TINY_STD = [0.41] * 3, [0.16] * 3


class Adapter(ABC):
    """One family. Adapters hold no weights: methods receive the model as an argument."""

    family: ClassVar[str]  # a key of registry.FAMILIES, or a name registered in a user's own file
    model_type: ClassVar[str]  # the name in transformers
    end: ClassVar[str]  # the token that ends an answer
    phrases: ClassVar[tuple[str, ...]]  # special tokens and template phrases of a tiny tokenizer
    attention: ClassVar[str | dict[str, str] | None] = "sdpa"  # transformers' attn_implementation
    plainly_causal: ClassVar[bool] = False  # True if no token, not even of an image, attends to a later token
    image_options: ClassVar[dict[str, Any]] = {}  # arguments that override the image processor's own config
    has_pixel_bounds: ClassVar[bool] = False  # True for Qwen2-VL's image processor: any size within bounds
    is_generic: ClassVar[bool] = False  # True for the adapter of all model types without one of their own
    is_read: ClassVar[bool] = True  # whether expert heads can use the language model of a user's own family

    def __init__(self, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, image_size: int):
        self.config = config
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.reading = Reading()
        self.whole_words = WholeWords(tokenizer)
        self._place_image()

    def _place_image(self) -> None:
        self.before = self.encode(self.before_image)
        self.image_ids = self.placeholders()
        self.image_start = len(self.before)
        self.image_tokens = len(self.image_ids)

    def read_as(self, reading: Reading) -> Self:
        """A copy of the adapter that reads prompts as `reading` says."""
        other = copy.copy(self)
        other.reading = reading
        other._place_image()
        return other

    def with_tokenizer(self, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> Self:
        """An adapter for another vocabulary of the same backbone."""
        return type(self)(config, tokenizer, self.image_size)

    @classmethod
    def serves(cls, config: PreTrainedConfig) -> bool:
        """Whether this adapter is for `config`; families may share a model_type."""
        return config.model_type == cls.model_type

    # Prompts ------------------------------------------------------------------------------------------

    before_image: ClassVar[str]  # the text before the image's placeholders

    @abstractmethod
    def placeholders(self) -> list[int]:
        """The placeholder token ids of one image."""

    @abstractmethod
    def after_image(self, text: str) -> str:
        """The text after the image if `text` is the first question, up to the start of the answer."""

    @abstractmethod
    def next_turn(self, text: str) -> str:
        """The text after an answer if `text` is the next question about the same image."""

    def instruction(self, instruction: str) -> str:
        """The text of a VLA prompt's only turn, passed to `after_image`."""
        return f"{INSTRUCTION} {instruction}"

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Special tokens must be written out in the text; none are added."""
        return self.tokenizer(self.whole_words.mark(text), add_special_tokens=False)["input_ids"]

    def end_id(self) -> int:
        """The id of the token that ends an answer."""
        return self.tokenizer.convert_tokens_to_ids(self.end)

    @property
    def template(self) -> str:
        """Where the format of prompts comes from, in words."""
        return f"the format of the family {self.family}, written by its adapter"

    def processor_files(self) -> dict[str, dict[str, Any]]:
        """Keys that transformers' own processor needs in the JSON files of a folder (processor_files.py).

        A tiny backbone's tokenizer and image processor lack some that those of a released model have.
        """
        return {}

    def saved(self, tokenizer: PreTrainedTokenizerBase, image_processor: Any) -> tuple[Any, ...]:
        """What a folder holds beside the model, each with a method `save_pretrained`."""
        return (tokenizer, image_processor)

    # Batches ------------------------------------------------------------------------------------------

    def positions(self, length: int) -> Tensor:
        """Position ids of an unpadded sequence, (..., length) int64."""
        return torch.arange(length)

    def resize(self, images: Tensor, processor: Any) -> Tensor:
        """Images (B, H, W, 3) uint8, resized as `processor` does it, if the family can do that faster.

        Other images are returned unchanged; the image processor then resizes them.
        """
        return images

    def process(self, images: Tensor, image_processor: Any) -> dict[str, Any]:
        """Vision inputs for images (B, H, W, 3) uint8, equal to those of `image_processor`.

        Images of the backbone's own size need no resizing and are processed as one tensor. So are images that
        the family can resize by itself (`resize`). Other images go through the image processor.
        """
        own = (self.image_size, self.image_size)
        if tuple(images.shape[1:3]) != own:
            images = self.resize(images, image_processor)
        if tuple(images.shape[1:3]) == own:
            mean, std = (
                torch.tensor(list(values), dtype=torch.float32).view(1, 3, 1, 1)
                for values in (image_processor.image_mean, image_processor.image_std)
            )
            pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            pixel_values = self.pixels(pixels.mul_(image_processor.rescale_factor / std).add_(-mean / std))
        else:
            processed = image_processor(
                images=list(images.numpy()), return_tensors="pt", **self.image_options
            )
            pixel_values = processed["pixel_values"]
            self.check_pixels(pixel_values, images)
        return {"pixel_values": pixel_values, **self.vision_inputs(images.shape[0])}

    def pixels(self, pixels: Tensor) -> Tensor:
        """The model's `pixel_values` for normalised pixels (B, 3, H, W) float32."""
        return pixels

    def check_pixels(self, pixel_values: Tensor, images: Tensor) -> None:
        """Raise ValueError if the image processor's output does not give each image `image_tokens` tokens.

        `images`: (B, H, W, 3). `pixel_values`: the image processor's output for `images`.
        """
        if len(pixel_values) != len(images):
            raise ValueError(
                f"the image processor returned {len(pixel_values)} images for {len(images)}: switch off the "
                "cutting of images into tiles in its preprocessor_config.json"
            )

    def vision_inputs(self, batch: int) -> dict[str, Any]:
        """The vision inputs for `batch` images other than `pixel_values`."""
        return {}

    def extras(self, is_image: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Additional inputs for each token. `is_image`, `real` (not padding): (B, T) bool."""
        return {}

    def extend(self, batch: dict[str, Any], count: int = 1) -> dict[str, Any]:
        """The inputs of `batch` without input_ids, extended by `count` text tokens on the right."""
        longer = {name: value for name, value in batch.items() if name != "input_ids"}
        longer["attention_mask"] = nn.functional.pad(batch["attention_mask"], (0, count), value=1)
        positions = batch["position_ids"]
        steps = torch.arange(1, count + 1, device=positions.device)
        # Text tokens advance by one position on every axis.
        longer["position_ids"] = torch.cat([positions, positions[..., -1:] + steps], dim=-1)
        return longer

    # Modules ------------------------------------------------------------------------------------------

    @abstractmethod
    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        """The modules that `freeze: vision` freezes; each family's file says if the projector is included."""

    def word_embedding(self, model: PreTrainedModel) -> nn.Module:
        """The module that `freeze: embedding` freezes, together with an output layer tied to it."""
        return model.get_input_embeddings()

    def last_hidden(self, model: PreTrainedModel, embeddings: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Hidden states after the final norm, (B, T, d), for embeddings (B, T, d) and inputs of `extend`.

        Calls the model without its output layer, so no vocabulary logits are computed. Within
        `last_position_only`, the result can have fewer positions: only the last ones
        (kernels/last_position.py).
        """
        if is_padding_free(model):
            return run_packed(model.model, embeddings, inputs)
        return model.model(inputs_embeds=embeddings, use_cache=False, **inputs).last_hidden_state

    def hidden_states(self, model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
        """Hidden states after the final norm, (B, T, d), for a `LoadedBackbone.batch`."""
        inputs = dict(batch)
        embeddings = self.word_embedding(model)(inputs.pop("input_ids"))
        return self.last_hidden(model, embeddings, inputs)

    def query_state(self, model: PreTrainedModel, batch: dict[str, Any], query: Tensor) -> Tensor:
        """The hidden state (B, d) of `query` (d,) after the final norm; see `LoadedBackbone.hidden`."""
        words = self.word_embedding(model)(batch["input_ids"])
        embeddings = torch.cat([words, query.to(words.dtype).expand(words.shape[0], 1, -1)], dim=1)
        inputs = self.extend(batch)
        if self.reading.query_position == "after-padding" and model.training:
            # The longest prompt has no padding, so its query has the largest position.
            positions = inputs["position_ids"]
            last = positions[..., -1:].amax(-2, keepdim=True).expand_as(positions[..., -1:])
            inputs["position_ids"] = torch.cat([positions[..., :-1], last], dim=-1)
        with last_position_only(self.last_layer(model), packed=is_padding_free(model)):
            states = self.last_hidden(model, embeddings, inputs)
        return states[:, -1]

    def logits(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        """Vocabulary logits (..., V) for hidden states (..., d), equal to those of the model's forward."""
        found = model.get_output_embeddings()(hidden)
        cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        return found if cap is None else torch.tanh(found / cap) * cap  # Gemma 2

    def text_model(self, model: PreTrainedModel) -> PreTrainedModel:
        """The language model without its output layer; for `PromptCache` and expert heads."""
        return model.model.language_model

    def language_model(self, model: PreTrainedModel) -> nn.Module:
        """The module that `vlm4vla backbone` lists as the language model."""
        return self.text_model(model)

    def read(self, model: PreTrainedModel, embeddings: Tensor, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Hidden states after the final norm (B, T, d), and transformers' cache; for `PromptCache`."""
        output = model.model(inputs_embeds=embeddings, use_cache=True, **inputs)
        return output.last_hidden_state, output.past_key_values

    def projector(self, model: PreTrainedModel) -> nn.Module:
        """The module whose output is the image tokens that the language model reads."""
        return model.model.multi_modal_projector

    def see(self, model: PreTrainedModel, inputs: dict[str, Any]) -> None:
        """Run only the vision encoder and the projector, on inputs from `LoadedBackbone.encode_images`."""
        model.model.get_image_features(**inputs)

    @contextlib.contextmanager
    def image_states_kept(self, model: PreTrainedModel) -> Iterator[list[Tensor]]:
        """Within the context, each forward pass of the model appends its image tokens to the yielded list.

        They have the shape (B, P, d) or (B * P, d), and P is `image_patches`.
        """
        kept: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                output = output[0] if isinstance(output, tuple) else output.pooler_output
            kept.append(output)

        hook = self.projector(model).register_forward_hook(keep)
        try:
            yield kept
        finally:
            hook.remove()

    def image_patches(self, model: PreTrainedModel) -> int:
        """The number of tokens that the vision encoder and the projector make of an image."""
        return self.image_tokens

    def tokens_of_cells(self, model: PreTrainedModel, grid: int) -> list[list[int]]:
        """For each cell of an image, row by row: the image tokens that show it.

        `grid`: cells a side. Here the tokens are the patches of a square, row by row. Raises UserError if
        the tokens show no places of the image.
        """
        side = math.isqrt(self.image_tokens)
        if side**2 != self.image_tokens:
            raise UserError(
                f"pretraining.alignment: the number of image tokens ({self.image_tokens}) must be a square: "
                "write `alignment: null`"
            )
        rows = [cell * side // grid for cell in range(grid)]
        return [[row * side + column] for row in rows for column in rows]

    def last_layer(self, model: PreTrainedModel) -> list[nn.Module]:
        """The modules of the last text layer that add to the residual stream, and the final norm."""
        text = model.model.language_model
        return [text.layers[-1].self_attn.o_proj, text.layers[-1].mlp, text.norm]

    def prepare(self, model: PreTrainedModel) -> None:  # noqa: B027, most families need nothing
        """Change settings of a loaded model that its folder does not record."""

    def prepare_training(self, model: PreTrainedModel) -> None:  # noqa: B027, most families need nothing
        """Replace `forward` of modules that the accelerator in use can compute faster with the same results.

        training/distributed/model_options.py removes these replacements again.
        """

    # Tiny backbones -----------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def tiny_config(
        cls, size: TinySize, tokenizer: PreTrainedTokenizerBase, image_size: int
    ) -> PreTrainedConfig:
        """The transformers config for the widths in `size`."""

    @classmethod
    @abstractmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        """The family's own image processor, which leaves square images of `image_size` pixels unresized."""

    @classmethod  # noqa: B027, most families need nothing
    def tiny_initialise(cls, model: PreTrainedModel) -> None:
        """Change transformers' own random weights, if the family needs that to learn at this size."""
