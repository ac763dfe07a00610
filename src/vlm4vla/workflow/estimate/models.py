"""The shape of a configured backbone, from its published config, its folder's config or its tiny widths."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.backbones.generic.surveyed import findings
from vlm4vla.backbones.hub import cached_snapshot
from vlm4vla.backbones.lookup import is_generic
from vlm4vla.backbones.weights import weight_facts
from vlm4vla.config.backbones import Backbone
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.workflow.estimate.published_configs import published_configs
from vlm4vla.workflow.estimate.shapes import shape_of
from vlm4vla.workflow.estimate.sizes import Shape, Stack

TINY_PATCH = 16  # pixels per side
TINY_VOCABULARY = 400  # tokens
SURVEYED_SIDE = 64  # pixels of the images of `vlm4vla survey`
USUAL_BILLIONS = 4.0  # of a checkpoint whose size is not known


@dataclass(frozen=True)
class Model:
    """The `shape` of a model, and the factor `scale` for its FLOPs and parameters.

    `scale` is 1 unless the model's config is unknown. The shape is then that of another model of the family.
    `source`: where the shape comes from, in words.
    """

    shape: Shape
    scale: float
    source: str

    @property
    def parameters(self) -> float:
        return self.shape.parameters * self.scale


def model_of(backbone: Backbone, image_size: int) -> Model:
    """The model of `backbone`. `image_size`: pixels per side of the study's images, for a tiny backbone."""
    if backbone.tiny is not None:
        return Model(_tiny_shape(backbone, image_size), 1.0, "its widths")
    published = published_configs().get(backbone.checkpoint or "")
    if published is not None:
        processor = _bounded(published.processor, backbone)
        return Model(shape_of(published.config, processor), 1.0, published.hub)
    try:
        folder = _folder(backbone)
        config = parse_json((folder / "config.json").read_text())
        processor = parse_json((folder / "preprocessor_config.json").read_text())
        return Model(shape_of(config, _bounded(processor["size"], backbone)), 1.0, str(folder))
    except (
        UserError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # a file is missing, or fields have default values
        return _similar_model(backbone)


def _bounded(size: Mapping[str, int], backbone: Backbone) -> dict[str, int]:
    """`size`, that of the checkpoint's image processor, with the bounds that the configuration sets."""
    bounds = backbone.pixels
    if bounds is None:
        return dict(size)
    return {**size, "shortest_edge": bounds.min} | (
        {} if bounds.max is None else {"longest_edge": bounds.max}
    )


def _similar_model(backbone: Backbone) -> Model:
    """The published model with the most similar size, of the same family if the family has one."""
    billions, known_from = _billions(backbone)
    size = billions * 1e9
    known = list(published_configs().values())
    model_type = "paligemma" if backbone.family == "paligemma2" else backbone.family
    family = [each for each in known if each.config["model_type"] == model_type] or known
    shapes = {each.hub: shape_of(each.config, _bounded(each.processor, backbone)) for each in family}
    hub = min(shapes, key=lambda name: abs(shapes[name].parameters - size))
    words = f"{hub}, scaled to {billions:.3g} B{known_from}"
    return Model(shapes[hub], size / shapes[hub].parameters, words)


def _billions(backbone: Backbone) -> tuple[float, str]:
    """The size of a checkpoint in billions of parameters, and in words where it comes from, if not stated."""
    if backbone.parameters_b is not None:
        return backbone.parameters_b, ""
    try:
        facts = weight_facts(_folder(backbone))
        return sum(math.prod(t.shape) for file in facts.values() for t in file.values()) / 1e9, ""
    except (UserError, OSError):
        pass
    in_name = re.search(r"(\d+(?:\.\d+)?)b(?![a-z])", Path(backbone.checkpoint or "").name.lower())
    if in_name:
        return float(in_name.group(1)), " by its name"
    return USUAL_BILLIONS, ", an assumption: write parameters_b"


def _folder(backbone: Backbone) -> Path:
    """The checkpoint's folder on this machine. Raises UserError if it has none."""
    name = backbone.checkpoint or ""
    if backbone.revision is None:
        return Path(name).expanduser()
    folder = cached_snapshot(name, backbone.revision)
    if folder is None:
        raise UserError(f"{name} is not in the cache")
    return folder


def _surveyed_tokens(family: str | None, image_size: int) -> int | None:
    """The tokens of an image in a tiny backbone without an adapter of its own, by the survey of its type."""
    found = findings().get(family or "") if is_generic(family or "") else None
    return round(found.image_tokens * (image_size / SURVEYED_SIDE) ** 2) if found and found.works else None


def _tiny_shape(backbone: Backbone, image_size: int) -> Shape:
    """The shape of a tiny backbone without norms and biases. One patch is one token in built-in families."""
    size, family = backbone.tiny, backbone.family
    patches = (image_size // TINY_PATCH) ** 2
    kosmos = family == "kosmos-2"
    text = Stack(
        layers=size.layers,
        width=size.hidden,
        heads=size.heads,
        key_value_heads=size.heads if kosmos else size.key_value_heads,
        head_size=size.hidden // size.heads,
        mlp=size.intermediate,
        gated=not kosmos,
        experts=size.experts,
        active=size.experts_per_token,
    )
    vision = Stack(
        layers=size.vision_layers,
        width=size.vision_hidden,
        heads=size.vision_heads,
        key_value_heads=size.vision_heads,
        head_size=size.vision_hidden // size.vision_heads,
        mlp=size.vision_intermediate,
        gated=family == "qwen2_5_vl",
    )
    return Shape(
        text=text,
        vision=vision,
        vocabulary=TINY_VOCABULARY,
        tied=True,
        patches=patches,
        keys=patches,
        patch_weights=3 * TINY_PATCH**2 * size.vision_hidden,
        image_tokens=_surveyed_tokens(family, image_size) or patches,
        bridge=((size.vision_hidden * size.hidden, patches),),
    )
