"""The parts of a model by transformers' own conventions: vision encoder, projector, language model.

The vision encoder is what `get_encoder("image")` finds. The language model is what `get_decoder()` finds,
with the word embedding and the output layer. The projector is everything else: modules, and parameters that
belong to no module of their own, such as the embedding of a line's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from vlm4vla.core.errors import UserError

UNCOMMON = ("image_encoder", "vision_embed_tokens", "vision_towers")  # names that `get_encoder` does not know
Part = Literal["vision", "projector", "language"]


@dataclass(frozen=True)
class Parts:
    """Modules of a model. `names`: the part of each parameter, by the parameter's name."""

    vision: nn.Module
    language: nn.Module
    embedding: nn.Module
    output: nn.Module
    names: dict[str, Part]


def find_parts(model: PreTrainedModel, source: str) -> Parts:
    """Find the parts of `model`. Raises UserError, which begins with `source`, if it lacks one."""
    found = {
        "vision encoder": _vision_encoder(model),
        "language model": model.get_decoder(),
        "word embedding": model.get_input_embeddings(),
        "output layer": model.get_output_embeddings(),
    }
    for what, module in found.items():
        if module is None or module is model:
            raise UserError(
                f"{source}: transformers finds no {what} in {type(model).__name__}: register a family of "
                "your own for it (docs/your-own-study.md)"
            )
    vision, language, embedding, output = found.values()
    seen = {id(weight) for weight in vision.parameters()}
    text = {id(weight) for module in (language, embedding, output) for weight in module.parameters()}
    names: dict[str, Part] = {}
    for name, weight in model.named_parameters():
        names[name] = "vision" if id(weight) in seen else "language" if id(weight) in text else "projector"
    return Parts(vision, language, embedding, output, names)


def _vision_encoder(model: PreTrainedModel) -> nn.Module | None:
    found = model.get_encoder("image")
    if found not in (model, model.base_model):
        return found
    return next((module for name, module in model.named_modules() if name.endswith(UNCOMMON)), None)
