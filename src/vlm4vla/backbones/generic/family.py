"""The adapter that serves every model type without a hand-written one."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.processing_utils import ProcessorMixin

from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.convolutions import (
    draw_weights,
    keep_statistics,
    skip_open_squeeze_excitation,
)
from vlm4vla.backbones.generic.forward import features_kept, moved, query_placed, states_kept, states_replaced
from vlm4vla.backbones.generic.image_codes import has_image_codes
from vlm4vla.backbones.generic.last_layer import LastLayer, last_layer
from vlm4vla.backbones.generic.parts import Parts, find_parts
from vlm4vla.backbones.generic.pixels import find_pixel_map
from vlm4vla.backbones.generic.refused import check_model
from vlm4vla.backbones.kernels.last_position import positions_only
from vlm4vla.backbones.kernels.small_models import is_small_model
from vlm4vla.core.errors import UserError

# Types whose model numbers the images of a whole batch, and makes positions of the numbers: a sample would
# depend on the samples before it. They get the positions that each sample has alone.
NUMBERS_IMAGES = {"hunyuan_vl"}
# Values of inputs behind a prompt, if they differ from those in it: PaliGemma's prompt attends to all of
# itself, and what it generates to what is before it.
BEHIND_PROMPT = {("paligemma", "token_type_ids"): 1}
LARGE = 1000.0  # of states that show a cap of the logits
NEARLY = 0.5  # share of the largest change
CLEARLY = 1.2  # times the median change
SEE = "get_image_features"


class GenericAdapter(Adapter):
    """Any model type: the checkpoint's processor and the model's own forward pass.

    `processor`: see generic/processor.py.
    """

    model_type = family = "generic"
    end = before_image = ""
    phrases = ()
    is_generic = True
    is_read = False
    attention = None  # transformers' own choice for the model

    def __init__(self, config: Any, processor: ProcessorMixin, image_size: int, source: str = "the backbone"):
        check_model(config, source)
        self.processor = processor
        self.source = source
        self._reads_one: bool | None = None  # whether the last layer can compute one position, likewise
        self._ends_plainly: bool | None = (
            None  # whether the logits are the output layer's, found at first use
        )
        self._needs_image = False
        self.layout = layouts.find_layout(processor, image_size, source, layouts.image_ids_of_model(config))
        # Models of codes may write into the logits of codes, which an answer cannot have.
        self.written = config.get_text_config().vocab_size if has_image_codes(config) else 0
        self.pixel_map = find_pixel_map(self._ask, image_size)
        self.end = self.layout.end
        super().__init__(config, processor.tokenizer, image_size)
        self.family = self.model_type = config.model_type
        self.query_id = self.encode(self.after_image(layouts.SHORT))[-1]

    def _place_image(self) -> None:
        layout = self.layout
        self.before, self.image_ids = layout.prefix[: layout.first], layout.prefix[layout.first :]
        self.image_start, self.image_tokens = layout.first, layout.count

    def with_tokenizer(self, config: Any, tokenizer: Any) -> Self:
        other = copy.copy(self.processor)
        other.tokenizer = tokenizer
        return type(self)(config, other, self.image_size, self.source)

    # Prompts ------------------------------------------------------------------------------------------

    def placeholders(self) -> list[int]:
        return self.image_ids

    def after_image(self, text: str) -> str:
        return self.layout.text(text)

    def next_turn(self, text: str) -> str:
        return self.layout.next_turn(text)

    @property
    def template(self) -> str:
        if layouts.chat_template(self.processor) is None:
            return "none: the image's token and the text"
        return "the checkpoint's own chat template"

    def saved(self, tokenizer: Any, image_processor: Any) -> tuple[Any, ...]:
        return (self.processor,)

    # Batches ------------------------------------------------------------------------------------------

    def extras(self, is_image: Tensor, real: Tensor) -> dict[str, Tensor]:
        index = (real.long().cumsum(1) - 1).clamp(min=0)
        found = {}
        for name, table in self.layout.tokens.items():
            values = table[index.clamp(max=len(table) - 1)]
            found[name] = values * real.view(*real.shape, *[1] * (values.ndim - 2)).to(values.dtype)
        return found

    def extend(self, batch: dict[str, Any], count: int = 1) -> dict[str, Any]:
        longer = super().extend(batch, count)
        for name, table in self.layout.tokens.items():
            values = batch[name]
            more = table[-1:].to(values.device).expand(len(values), count, *table.shape[1:])
            if (self.model_type, name) in BEHIND_PROMPT:
                more = torch.full_like(more, BEHIND_PROMPT[self.model_type, name])
            longer[name] = torch.cat([values, more], dim=1)
        return longer

    def process(self, images: Tensor, image_processor: Any) -> dict[str, Any]:
        own = (self.image_size, self.image_size)
        if self.pixel_map is not None and tuple(images.shape[1:3]) == own:
            return self.pixel_map(images)
        return self._ask(images.numpy())

    def _ask(self, images: np.ndarray) -> dict[str, Any]:
        """The vision inputs of images (B, H, W, 3) by the processor itself."""
        prompt = layouts.rendered(self.processor, [layouts.SHORT])
        return layouts.vision_inputs(self.processor, self.layout, prompt, images)

    # Model --------------------------------------------------------------------------------------------

    def query_state(self, model: PreTrainedModel, batch: dict[str, Any], query: Tensor) -> Tensor:
        ids = batch["input_ids"]
        longer = self.extend(batch)
        longer["input_ids"] = torch.cat([ids, ids.new_full((len(ids), 1), self.query_id)], dim=1)
        inputs, _ = self._right_padded(longer)
        last = inputs["attention_mask"].sum(1) - 1
        parts = find_parts(model, self.source)
        layer = last_layer(parts.language) if is_small_model(model) else None
        if layer is None or layer.is_replaced or self._reads_one is False:
            return self._state(model, parts, inputs, query, last)
        if self._reads_one is None:
            self._reads_one = self._is_same(model, parts, inputs, query, last, layer)
        return self._state(model, parts, inputs, query, last, layer if self._reads_one else None)

    def _state(
        self,
        model: PreTrainedModel,
        parts: Parts,
        inputs: dict[str, Any],
        query: Tensor,
        last: Tensor,
        layer: LastLayer | None = None,
    ) -> Tensor:
        """The state (B, d) at index `last` (B,). `layer`: computes only there."""
        count, length = inputs["input_ids"].shape
        with contextlib.ExitStack() as stack:
            placed = stack.enter_context(query_placed(parts.embedding, query, last, length))
            if layer is None:
                kept = stack.enter_context(states_kept(parts.output, length, last, written=self.written))
            else:
                here = torch.arange(length, device=last.device) == last[:, None]
                stack.enter_context(positions_only(layer.modules, here))
                # One row with the B states
                kept = stack.enter_context(states_kept(parts.output, count, written=self.written))
            model(**self._fitted(model, inputs), use_cache=False)
        self._check_once(placed, kept)
        return kept[0][:, 0] if layer is None else kept[0][0]

    @torch.no_grad()
    def _is_same(self, model: PreTrainedModel, *given: Any) -> bool:
        """Whether the last layer gives the same state if it computes only one position.

        That is asked, because other model types may compute more in it than attention and an MLP.
        """
        *usual, layer = given
        was_training = model.training
        model.eval()
        try:
            expected = self._state(model, *usual)
            found = self._state(model, *usual, layer)
        except (RuntimeError, IndexError, UserError):
            return False
        finally:
            model.train(was_training)
        return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-5, atol=1e-6)

    def hidden_states(self, model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
        inputs, padding = self._right_padded(batch)
        length = batch["input_ids"].shape[1]
        output = find_parts(model, self.source).output
        with states_kept(output, length, written=self.written) as kept:
            model(**self._fitted(model, inputs), use_cache=False)
        return moved(kept[0], padding, left=True)

    def logits(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        output = find_parts(model, self.source).output
        if self._ends_plainly is None:
            with torch.no_grad():
                rows = LARGE * torch.randn(2, hidden.shape[-1], generator=torch.Generator().manual_seed(0))
                rows = rows.to(hidden)
                self._ends_plainly = torch.equal(output(rows), self._ending(model, output, rows))
        if self._ends_plainly:
            return output(hidden)
        return self._ending(model, output, hidden.reshape(-1, hidden.shape[-1])).view(*hidden.shape[:-1], -1)

    def _ending(self, model: PreTrainedModel, output: nn.Module, rows: Tensor) -> Tensor:
        """The logits (N, V) that the model's forward pass makes of states (N, d) at its output layer."""
        alone = {layouts.IDS: torch.tensor([[self.query_id]], device=rows.device)}
        with states_replaced(output, rows):
            if not self._needs_image:
                try:
                    return model(**alone, use_cache=False).logits[0]
                except (TypeError, ValueError):  # some models read no text without an image
                    self._needs_image = True
            return model(**self._example(rows), use_cache=False).logits[0]

    def _example(self, like: Tensor) -> dict[str, Any]:
        """The model's inputs for a prompt with an image, on the device and with the float type of `like`."""
        ids = torch.tensor([[*self.layout.prefix, self.query_id]])
        tokens = {name: table[None] for name, table in self.layout.tokens.items()}
        inputs = {layouts.IDS: ids, layouts.MASK: torch.ones_like(ids), **tokens}
        inputs |= self._ask(layouts.random_images(1, self.image_size))
        return {
            name: (value.to(like) if value.is_floating_point() else value.to(like.device))
            if isinstance(value, Tensor)
            else value
            for name, value in inputs.items()
        }

    def own_logits(self, model: PreTrainedModel, batch: dict[str, Any], word: int | None = None) -> Tensor:
        """Logits of the model's own forward pass for a batch without padding, with `word` behind the text.

        They are what checks compare the methods above with.
        """
        if word is not None:
            ids = nn.functional.pad(batch["input_ids"], (0, 1), value=word)
            batch = self.extend(batch) | {"input_ids": ids}
        return model(**self.own_inputs(batch)).logits

    def own_inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The inputs of the model's own forward pass for a batch without padding."""
        return {name: value for name, value in batch.items() if name != "position_ids"}

    def _check_once(self, placed: list[int], kept: list[Tensor]) -> None:
        """Raise UserError unless the query was placed once, and reached the output layer once."""
        if len(placed) != 1 or len(kept) != 1:
            raise UserError(
                f"{self.source}: in one forward pass, the model embeds its words {len(placed)} times and "
                f"reaches the output layer {len(kept)} times, not once: register a family of your own for it "
                "(docs/your-own-study.md)"
            )

    def _right_padded(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
        """The inputs of the model's forward, padded on the right, and the padding (B,) of each row."""
        mask = batch["attention_mask"]
        padding = mask.shape[1] - mask.sum(1)
        inputs = {name: value for name, value in batch.items() if name != "position_ids"}
        for name in ("input_ids", "attention_mask", *self.layout.tokens):
            inputs[name] = moved(inputs[name], padding, left=False)
        return inputs, padding

    def _fitted(self, model: PreTrainedModel, inputs: dict[str, Any]) -> dict[str, Any]:
        """`inputs` with pixels in the type of the model's weights, and with positions where it needs them."""
        if has_image_codes(model.config):
            # Emu3's encoder normalises by batch: in training, an image would have other codes beside others.
            for part in self.vision_encoder(model):
                part.eval()
        found = {
            name: value.to(model.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
            for name, value in inputs.items()
        }
        if self.model_type in NUMBERS_IMAGES:
            names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
            rows = [
                model.base_model.get_rope_index(**{name: inputs[name][row : row + 1] for name in names})[0]
                for row in range(len(inputs["input_ids"]))
            ]
            found["position_ids"] = torch.cat(rows, dim=1)
        return found

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        parts = find_parts(model, self.source)
        return [parts.vision, *parts.more_vision]

    def language_model(self, model: PreTrainedModel) -> nn.Module:
        return find_parts(model, self.source).language

    def last_layer(self, model: PreTrainedModel) -> list[nn.Module]:
        return []

    def prepare(self, model: PreTrainedModel) -> None:
        keep_statistics(model)
        skip_open_squeeze_excitation(model)

    # Alignment of image tokens ------------------------------------------------------------------------

    def _seer(self, model: PreTrainedModel) -> PreTrainedModel:
        """The module of the model whose `get_image_features` its forward pass calls."""
        owners = (model.base_model, model, *model.base_model.children())
        found = next((each for each in owners if hasattr(each, SEE)), None)
        if found is None:
            raise UserError(
                f"{self.source}: transformers has no method that gives the image tokens of {self.family!r} "
                "alone: write `pretraining.alignment: null`"
            )
        return found

    def see(self, model: PreTrainedModel, inputs: dict[str, Any]) -> None:
        seer = self._seer(model)
        known = inspect.signature(seer.get_image_features).parameters
        seer.get_image_features(**{name: value for name, value in inputs.items() if name in known})

    @contextlib.contextmanager
    def image_states_kept(self, model: PreTrainedModel) -> Iterator[list[Tensor]]:
        with features_kept(self._seer(model)) as kept:
            yield kept

    @torch.no_grad()
    def image_patches(self, model: PreTrainedModel) -> int:
        image = torch.from_numpy(layouts.random_images(1, self.image_size))
        with features_kept(self._seer(model)) as kept:
            self.see(model, self.process(image, None))
        return kept[0].shape[:-1].numel()

    @torch.no_grad()
    def tokens_of_cells(self, model: PreTrainedModel, grid: int) -> list[list[int]]:
        """See `Adapter`. A token shows a cell if a change of the cell changes the token most, or nearly.

        The tokens of some models (LLaVA-OneVision) are an image and its tiles with ends of lines.
        """
        side, size = self.image_size // grid, self.image_size
        images = np.full((grid**2 + 1, size, size, 3), 128, dtype=np.uint8)
        for cell in range(grid**2):
            row, column = (index * side for index in divmod(cell, grid))
            images[cell, row : row + side, column : column + side] = layouts.random_images(1, side, cell)[0]
        with features_kept(self._seer(model)) as kept:
            self.see(model, self.process(torch.from_numpy(images), None))
        states = kept[0].reshape(len(images), -1, kept[0].shape[-1])
        changes = (states[:-1] - states[-1]).norm(dim=-1)  # (cells, tokens)
        # Attention spreads a change over all tokens: what counts is how much more one token changes.
        most, usual = changes.amax(1, keepdim=True), changes.median(1, keepdim=True).values
        shows = changes - usual > NEARLY * (most - usual)
        spread = shows.sum(1).max() > states.shape[1] // 4 or shows.sum(0).max() > len(shows) // 2
        if (most < CLEARLY * usual).any() or spread:
            raise UserError(
                f"{self.source}: the image tokens of {self.family!r} show no places of the image: write "
                "`pretraining.alignment: null`"
            )
        return [cell.nonzero()[:, 0].tolist() for cell in shows]

    # Tiny backbones (twin.py builds them) -------------------------------------------------------------

    @classmethod
    def tiny_config(cls, size: Any, tokenizer: Any, image_size: int) -> Any:
        raise NotImplementedError

    @classmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        raise NotImplementedError

    @classmethod
    def tiny_initialise(cls, model: PreTrainedModel) -> None:
        draw_weights(model)
