"""Backbones from Hugging Face folders, with faults found before transformers meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class_of
from vlm4vla.backbones.picture_size import processed_side
from vlm4vla.backbones.weights import weight_files
from vlm4vla.core.errors import UserError


def load_folder(folder: Path, *, image_size: int | None = None) -> LoadedBackbone:
    """See `vlm4vla.backbones.load`."""
    weight_files(folder)
    family = adapter_class_of(AutoConfig.from_pretrained(folder), str(folder))
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, attn_implementation=family.attention, output_loading_info=True
    )
    _refuse_missing(folder, report)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    size = image_size or _own_image_size(model.config, image_processor)
    return LoadedBackbone(model, tokenizer, image_processor, family(model.config, tokenizer, size))


def check_folder(folder: Path) -> None:
    """Refuse a folder that `load_folder` would refuse, without reading a weight into memory.

    The model is built on the meta device, where weights have names, shapes and no numbers.
    """
    weight_files(folder)
    config = AutoConfig.from_pretrained(folder)
    family = adapter_class_of(config, str(folder))
    _, report = AutoModelForImageTextToText.from_pretrained(
        folder,
        attn_implementation=family.attention,
        device_map={"": "meta"},
        output_loading_info=True,
    )
    _refuse_missing(folder, report)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    family(config, tokenizer, _own_image_size(config, image_processor))


def _refuse_missing(folder: Path, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"{folder}: weights of {missing[0]} and {len(missing) - 1} others are missing: download or "
            "pre-train the backbone again"
        )


def _own_image_size(config: Any, image_processor: Any) -> int:
    """Side in pixels that the folder was made for: of the vision config, or what a Qwen processor makes of
    the study's pictures; a processor with one size for all makes that of any."""
    vision = config.vision_config
    size = getattr(vision, "image_size", None)
    if size is not None:
        return size if isinstance(size, int) else size[0]
    edges = image_processor.size
    known = {edge: edges[edge] for edge in ("shortest_edge", "longest_edge")}
    return processed_side(known, vision.patch_size * vision.spatial_merge_size)
