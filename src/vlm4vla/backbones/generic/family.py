"""The adapter that serves every model type without a hand-written one."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.processing_utils import ProcessorMixin

from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.forward import moved, query_placed, states_kept, states_replaced
from vlm4vla.backbones.generic.parts import find_parts
from vlm4vla.core.errors import UserError

NOT_TINY = "family: a tiny backbone needs a built-in family, or one of an extension file: write one of them"


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
        self.processor = processor
        self.source = source
        self.layout = layouts.find_layout(processor, image_size, source)
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
            longer[name] = torch.cat([values, more], dim=1)
        return longer

    def process(self, images: Tensor, image_processor: Any) -> dict[str, Any]:
        prompt = layouts.rendered(self.processor, [layouts.SHORT])
        return layouts.vision_inputs(self.processor, self.layout, prompt, images.numpy())

    # Model --------------------------------------------------------------------------------------------

    def own_inputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The inputs of the model's own forward pass for a batch, padded on the right."""
        return self._right_padded(batch)[0]

    def query_state(self, model: PreTrainedModel, batch: dict[str, Any], query: Tensor) -> Tensor:
        ids = batch["input_ids"]
        longer = self.extend(batch)
        longer["input_ids"] = torch.cat([ids, ids.new_full((len(ids), 1), self.query_id)], dim=1)
        inputs, _ = self._right_padded(longer)
        last = inputs["attention_mask"].sum(1) - 1
        parts = find_parts(model, self.source)
        with (
            query_placed(parts.embedding, query, last, ids.shape[1] + 1) as placed,
            states_kept(parts.output, ids.shape[1] + 1, last) as kept,
        ):
            model(**inputs, use_cache=False)
        self._check_once(placed, kept)
        return kept[0][:, 0]

    def _check_once(self, placed: list[int], kept: list[Tensor]) -> None:
        if len(placed) != 1 or len(kept) != 1:
            raise UserError(
                f"{self.source}: in one forward pass, the model embeds its words {len(placed)} times and "
                f"reaches the output layer {len(kept)} times, not once: register a family of your own for it "
                "(docs/your-own-study.md)"
            )

    def hidden_states(self, model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
        inputs, padding = self._right_padded(batch)
        length = batch["input_ids"].shape[1]
        with states_kept(find_parts(model, self.source).output, length) as kept:
            model(**inputs, use_cache=False)
        return moved(kept[0], padding, left=True)

    def logits(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        ids = torch.tensor([[self.query_id]], device=hidden.device)
        with states_replaced(find_parts(model, self.source).output, rows):
            found = model(input_ids=ids, use_cache=False).logits
        return found.view(*hidden.shape[:-1], -1)

    def _right_padded(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
        """The inputs of the model's forward, padded on the right, and the padding (B,) of each row."""
        mask = batch["attention_mask"]
        padding = mask.shape[1] - mask.sum(1)
        inputs = {name: value for name, value in batch.items() if name != "position_ids"}
        for name in ("input_ids", "attention_mask", *self.layout.tokens):
            inputs[name] = moved(inputs[name], padding, left=False)
        return inputs, padding

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [find_parts(model, self.source).vision]

    def last_layer(self, model: PreTrainedModel) -> list[nn.Module]:
        return []

    # Tiny backbones -----------------------------------------------------------------------------------

    @classmethod
    def tiny_config(cls, size: Any, tokenizer: Any, image_size: int) -> Any:
        raise UserError(NOT_TINY)

    @classmethod
    def tiny_image_processor(cls, image_size: int) -> Any:
        raise UserError(NOT_TINY)
