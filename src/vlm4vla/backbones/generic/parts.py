"""The parts of a model by transformers' own conventions: vision encoder, projector, language model.

The vision encoder is what `get_encoder("image")` finds. The language model is what `get_decoder()` finds,
with the word embedding and the output layer. The projector is everything else: modules, and parameters that
belong to no module of their own, such as the embedding of a line's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from transformers import PreTrainedModel

from vlm4vla.config.backbones import PartNames
from vlm4vla.core.errors import UserError, suggestion

# Names that `get_encoder` does not know. Gemma 4 without an encoder embeds patches with `embed_vision`, and
# `vqmodel` turns images into codes.
UNCOMMON = ("image_encoder", "vision_embed_tokens", "vision_towers", "embed_vision", "vqmodel")
NAMES = "vlm4vla_parts"  # key of config.json
PARTS = ("vision", "language", "embedding", "output")
DEPTH = 4  # of the names in a message
Part = Literal["vision", "projector", "language"]


@dataclass(frozen=True)
class Parts:
    """Modules of a model."""

    vision: nn.Module
    language: nn.Module
    embedding: nn.Module
    output: nn.Module
    more_vision: tuple[nn.Module, ...] = ()  # further vision encoders, such as one for a larger image

    def of_parameters(self, model: PreTrainedModel) -> dict[str, Part]:
        """The part of each parameter of the model, by the parameter's name."""
        seen = {id(weight) for each in (self.vision, *self.more_vision) for weight in each.parameters()}
        text = {
            id(weight)
            for module in (self.language, self.embedding, self.output)
            for weight in module.parameters()
        }
        return {
            name: "vision" if id(weight) in seen else "language" if id(weight) in text else "projector"
            for name, weight in model.named_parameters()
        }


def with_part_names(config: dict[str, Any], names: PartNames) -> dict[str, Any]:
    """A model's config.json with the names of its parts, which `find_parts` reads."""
    return {**config, NAMES: names.model_dump(exclude_none=True)}


def find_parts(model: PreTrainedModel, source: str) -> Parts:
    """Find the parts of `model`. Raises UserError, which begins with `source`, if it lacks one.

    Names in the model's configuration (`with_part_names`) have priority.
    """
    found = {
        "vision encoder": _vision_encoder(model),
        "language model": _language_model(model),
        "word embedding": model.get_input_embeddings(),
        "output layer": output_layer(model),
    }
    stated = getattr(model.config, NAMES, None) or {}
    for what, key in zip(found, PARTS, strict=True):
        if key in stated:
            found[what] = _named(model, stated[key], key, source)
    for what, module in found.items():
        if module is None or module is model:
            raise UserError(
                f"{source}: transformers finds no {what} in {type(model).__name__}: register a family of "
                "your own for it (docs/your-own-study.md)"
            )
    more = () if "vision" in stated else _more_vision(model, found["vision encoder"])
    return Parts(*found.values(), more_vision=more)


def output_layer(model: PreTrainedModel) -> nn.Module | None:
    """The layer that computes the logits: the model's, or else that of its decoder (BLIP)."""
    decoder = model.get_decoder()
    found = model.get_output_embeddings()
    return (
        decoder.get_output_embeddings() if found is None and isinstance(decoder, PreTrainedModel) else found
    )


def _named(model: PreTrainedModel, name: str, key: str, source: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = [each for each, _ in model.named_modules() if each and each.count(".") < DEPTH]
        raise UserError(
            f"{source}: parts.{key}: {type(model).__name__} has no module {name!r}: {suggestion(name, known)}"
        ) from None


def text_decoder(model: PreTrainedModel) -> PreTrainedModel:
    """The decoder of an encoder-decoder model, without an encoder of text around it (Florence-2)."""
    found = model.get_decoder()
    while found.get_decoder() is not found:
        found = found.get_decoder()
    return found


def _language_model(model: PreTrainedModel) -> nn.Module:
    if not model.config.is_encoder_decoder:
        return model.get_decoder()
    decoder = text_decoder(model)
    if decoder is model:
        return decoder
    encoder = model.get_encoder()
    if _vision_encoder(model) in list(encoder.modules()):
        encoder = encoder.get_decoder()  # transformers' name for its part that reads text
    return nn.ModuleList([encoder, decoder])


def _vision_encoder(model: PreTrainedModel) -> nn.Module | None:
    found = model.get_encoder("image")
    embedding = model.get_input_embeddings()
    while found is not None and any(module is embedding for module in found.modules()):
        inner = found.get_encoder("image")  # this one reads the text, too
        if inner is found:
            break
        found = inner
    if found not in (model, model.base_model):
        return found
    return next((module for name, module in model.named_modules() if name.endswith(UNCOMMON)), None)


def _more_vision(model: PreTrainedModel, vision: nn.Module) -> tuple[nn.Module, ...]:
    """The vision encoders beside `vision`: whole models of pixels, by transformers' names for them."""
    seen = set(vision.modules())
    found = []
    for name, module in model.named_modules():
        is_model = isinstance(module, PreTrainedModel) and module.main_input_name == "pixel_values"
        if module not in seen and is_model and "vision" in name.rpartition(".")[2]:
            found.append(module)
            seen |= set(module.modules())
    return tuple(found)
