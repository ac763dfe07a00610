"""The shape of a model (`sizes.Shape`) from its config, for each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlm4vla.backbones.image_size import STUDY_IMAGE_SIZE, processed_side
from vlm4vla.workflow.estimate.sizes import Shape, Stack


def shape_of(config: Mapping[str, Any], processor: Mapping[str, int], side: int = STUDY_IMAGE_SIZE) -> Shape:
    """The shape of a model with the transformers config `config`, a dictionary of all fields that are needed.

    `processor`: the `size` of its image processor. `side`: pixels per side of its input images. Raises
    KeyError for a `model_type` without an adapter and for a missing field.
    """
    return _FAMILIES[config["model_type"]](config, processor, side)


def _qwen25(config: Mapping[str, Any], processor: Mapping[str, int], side: int) -> Shape:
    text, vision = config["text_config"], config["vision_config"]
    merge, width, mlp = vision["spatial_merge_size"], vision["hidden_size"], vision["intermediate_size"]
    grid = _grid(vision, processor, side)
    window = (vision["window_size"] // vision["patch_size"]) ** 2
    full = len(vision["fullatt_block_indexes"])
    keys = (full * grid**2 + (vision["depth"] - full) * min(window, grid**2)) / vision["depth"]
    merged, out = width * merge**2, vision["out_hidden_size"]
    heads, size = text["num_attention_heads"], text["hidden_size"] // text["num_attention_heads"]
    biases = size * (heads + 2 * text["num_key_value_heads"])
    return Shape(
        text=_gated_text(text, size, small=biases + 2 * text["hidden_size"]),
        vision=_encoder(vision, vision["depth"], vision["num_heads"], gated=True, small=7 * width + 2 * mlp),
        vocabulary=text["vocab_size"],
        tied=config["tie_word_embeddings"],
        patches=grid**2,
        keys=keys,
        patch_weights=_patch_weights_3d(vision),
        image_tokens=(grid // merge) ** 2,
        bridge=((merged * (merged + out), (grid // merge) ** 2),),
        bridge_spared="all",
        bridge_small=width + merged + out,
        text_small=text["hidden_size"],
    )


def _qwen3(config: Mapping[str, Any], processor: Mapping[str, int], side: int) -> Shape:
    text, vision = config["text_config"], config["vision_config"]
    merge, width = vision["spatial_merge_size"], vision["hidden_size"]
    grid = _grid(vision, processor, side)
    merged, out, deep = width * merge**2, vision["out_hidden_size"], len(vision["deepstack_visual_indexes"])
    tokens = (grid // merge) ** 2
    experts = {}
    if "num_experts" in text or "num_local_experts" in text:
        count = text.get("num_experts") or text["num_local_experts"]
        experts = {"experts": count, "active": text["num_experts_per_tok"]}
    size = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
    return Shape(
        text=_gated_text(text, size, small=2 * text["hidden_size"] + 2 * size, **experts),
        vision=_encoder(
            vision, vision["depth"], vision["num_heads"], gated=False, small=_plain_small(vision)
        ),
        vocabulary=text["vocab_size"],
        tied=config["tie_word_embeddings"],
        patches=grid**2,
        keys=grid**2,
        patch_weights=_patch_weights_3d(vision),
        image_tokens=tokens,
        bridge=((merged * (merged + out), tokens),) * (1 + deep),
        bridge_spared="all",
        vision_small=width * (1 + vision["num_position_embeddings"]),
        bridge_small=2 * width + 2 * merged * deep + (1 + deep) * (merged + out),
        text_small=text["hidden_size"],
    )


def _paligemma(config: Mapping[str, Any], processor: Mapping[str, int], side: int) -> Shape:
    text, vision = config["text_config"], config["vision_config"]
    width, grid = vision["hidden_size"], vision["image_size"] // vision["patch_size"]
    norms = 4 if text["model_type"] == "gemma2" else 2
    return Shape(
        text=_gated_text(text, text["head_dim"], small=norms * text["hidden_size"]),
        vision=_clip_like(vision),
        vocabulary=text["vocab_size"],
        tied=config["tie_word_embeddings"],
        patches=grid**2,
        keys=grid**2,
        patch_weights=_patch_weights_2d(vision),
        image_tokens=grid**2,
        bridge=((width * config["projection_dim"], grid**2),),
        bridge_spared="first",
        vision_small=width * (1 + grid**2 + 2),  # patch bias, positions, last norm
        bridge_small=config["projection_dim"],
        text_small=text["hidden_size"],
    )


def _kosmos2(config: Mapping[str, Any], processor: Mapping[str, int], side: int) -> Shape:
    text, vision = config["text_config"], config["vision_config"]
    width, hidden, mlp = vision["hidden_size"], text["embed_dim"], text["ffn_dim"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    queries = config["latent_query_num"]
    keys, square = patches + queries, hidden * hidden
    return Shape(
        text=Stack(
            layers=text["layers"],
            width=hidden,
            heads=text["attention_heads"],
            key_value_heads=text["attention_heads"],
            head_size=hidden // text["attention_heads"],
            mlp=mlp,
            gated=False,
            small=11 * hidden + 3 * mlp,  # biases 5 d + f, three norms of d and one of f
        ),
        vision=_clip_like(vision),
        vocabulary=text["vocab_size"],
        tied=config["tie_word_embeddings"],
        patches=patches,
        keys=patches,
        patch_weights=_patch_weights_2d(vision),
        image_tokens=queries,
        bridge=((width * hidden, patches), (2 * square, keys), (2 * square, queries)),
        bridge_attention=4 * hidden * queries * keys,
        bridge_spared="first",
        vision_small=width * (1 + patches + 4),  # class token, positions, two norms
        bridge_small=hidden * (1 + queries + 4),
        text_small=2 * hidden,
    )


def _internvl(config: Mapping[str, Any], processor: Mapping[str, int], side: int) -> Shape:
    text, vision = config["text_config"], config["vision_config"]
    width, hidden = vision["hidden_size"], text["hidden_size"]
    grid = vision["image_size"][0] // vision["patch_size"][0]
    tokens = int(grid * config["downsample_ratio"]) ** 2
    shuffled = width * int(1 / config["downsample_ratio"]) ** 2
    unbiased = 0 if vision["attention_bias"] else 3 * width
    vision = vision | {"patch_size": vision["patch_size"][0]}
    small = 2 * hidden + 2 * text["head_dim"]
    return Shape(
        text=_gated_text(text, text["head_dim"], small=small),
        vision=_encoder(
            vision,
            vision["num_hidden_layers"],
            vision["num_attention_heads"],
            gated=False,
            small=_plain_small(vision) + 2 * width - unbiased,  # two layer scales
        ),
        vocabulary=text["vocab_size"],
        tied=config["tie_word_embeddings"],
        patches=grid**2 + 1,
        keys=grid**2 + 1,
        patch_weights=_patch_weights_2d(vision),
        image_tokens=tokens,
        bridge=((shuffled * hidden, tokens), (hidden * hidden, tokens)),
        vision_small=width * (1 + 1 + grid**2 + 1),  # patch bias, class token, positions
        bridge_small=2 * shuffled + 2 * hidden,
        text_small=hidden,
    )


_FAMILIES: dict[str, Callable[[Mapping[str, Any], Mapping[str, int], int], Shape]] = {
    "qwen2_5_vl": _qwen25,
    "qwen3_vl": _qwen3,
    "qwen3_vl_moe": _qwen3,
    "paligemma": _paligemma,
    "kosmos-2": _kosmos2,
    "internvl": _internvl,
}


def _grid(vision: Mapping[str, Any], processor: Mapping[str, int], side: int) -> int:
    """The number of patches per side."""
    factor = vision["patch_size"] * vision["spatial_merge_size"]
    return processed_side(processor, factor, side) // vision["patch_size"]


def _patch_weights_3d(vision: Mapping[str, Any]) -> int:
    return 3 * vision["temporal_patch_size"] * vision["patch_size"] ** 2 * vision["hidden_size"]


def _patch_weights_2d(vision: Mapping[str, Any]) -> int:
    return 3 * vision["patch_size"] ** 2 * vision["hidden_size"]


def _gated_text(text: Mapping[str, Any], size: int, small: int, experts: int = 0, active: int = 0) -> Stack:
    return Stack(
        layers=text["num_hidden_layers"],
        width=text["hidden_size"],
        heads=text["num_attention_heads"],
        key_value_heads=text["num_key_value_heads"],
        head_size=size,
        mlp=text["moe_intermediate_size"] if experts else text["intermediate_size"],
        gated=True,
        small=small,
        experts=experts,
        active=active,
    )


def _encoder(vision: Mapping[str, Any], layers: int, heads: int, gated: bool, small: int) -> Stack:
    width = vision["hidden_size"]
    mlp = vision["intermediate_size"]
    return Stack(layers, width, heads, heads, width // heads, mlp, gated, small)


def _plain_small(vision: Mapping[str, Any]) -> int:
    """Biases of attention (4 w) and MLP (f + w), two norms (4 w)."""
    return 9 * vision["hidden_size"] + vision["intermediate_size"]


def _clip_like(vision: Mapping[str, Any]) -> Stack:
    layers, heads = vision["num_hidden_layers"], vision["num_attention_heads"]
    return _encoder(vision, layers, heads, gated=False, small=_plain_small(vision))
