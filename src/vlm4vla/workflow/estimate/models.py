"""The shape of a configured backbone, from its published config, its folder's config or its tiny widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.config.backbones import Backbone
from vlm4vla.core.artefacts import parse_json
from vlm4vla.workflow.estimate.published_configs import published_configs
from vlm4vla.workflow.estimate.shapes import shape_of
from vlm4vla.workflow.estimate.sizes import Shape, Stack

TINY_PATCH = 16  # pixels per side
TINY_VOCABULARY = 400  # tokens


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
    folder = Path(backbone.checkpoint or "").expanduser()
    try:
        config = parse_json((folder / "config.json").read_text())
        processor = parse_json((folder / "preprocessor_config.json").read_text())
        return Model(shape_of(config, _bounded(processor["size"], backbone)), 1.0, str(folder))
    except (OSError, ValueError, KeyError, TypeError):  # a file is missing, or fields have default values
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
    size = backbone.parameters_b * 1e9
    known = list(published_configs().values())
    model_type = "paligemma" if backbone.family == "paligemma2" else backbone.family
    family = [each for each in known if each.config["model_type"] == model_type] or known
    shapes = {each.hub: shape_of(each.config, _bounded(each.processor, backbone)) for each in family}
    hub = min(shapes, key=lambda name: abs(shapes[name].parameters - size))
    return Model(shapes[hub], size / shapes[hub].parameters, f"{hub}, scaled to {backbone.parameters_b:g} B")


def _tiny_shape(backbone: Backbone, image_size: int) -> Shape:
    """The shape of a tiny backbone without norms and biases. One patch is one token in every family."""
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
        image_tokens=patches,
        bridge=((size.vision_hidden * size.hidden, patches),),
    )
