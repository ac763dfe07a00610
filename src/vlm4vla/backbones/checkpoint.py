"""Loading of backbones from Hugging Face folders, with checks before transformers reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from vlm4vla.backbones.image_size import processed_side
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class_of
from vlm4vla.backbones.weights import weight_files
from vlm4vla.core.errors import UserError


def load_folder(folder: Path, *, image_size: int | None = None) -> LoadedBackbone:
    """Load a backbone; see `vlm4vla.backbones.load`."""
    weight_files(folder)
    family = adapter_class_of(AutoConfig.from_pretrained(folder), str(folder))
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, attn_implementation=family.attention, output_loading_info=True
    )
    _check_no_weight_missing(folder, report)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    size = image_size or _own_image_size(model.config, image_processor)
    return LoadedBackbone(model, tokenizer, image_processor, family(model.config, tokenizer, size))


def check_folder(folder: Path) -> None:
    """Raise UserError if `load_folder` would reject the folder, without loading weights into memory.

    The model is built on the meta device, where weights have names and shapes but no values.
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
    _check_no_weight_missing(folder, report)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    family(config, tokenizer, _own_image_size(config, image_processor))


def _check_no_weight_missing(folder: Path, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"{folder}: the weights of {missing[0]} and {len(missing) - 1} others are missing: download or "
            "pre-train the backbone again"
        )


def _own_image_size(config: Any, image_processor: Any) -> int:
    """The image size of the folder's model, in pixels.

    It comes from the vision config if the config has one; otherwise (Qwen) it is the size that the image
    processor produces from the study's images.
    """
    vision = config.vision_config
    size = getattr(vision, "image_size", None)
    if size is not None:
        return size if isinstance(size, int) else size[0]
    edges = image_processor.size
    known = {edge: edges[edge] for edge in ("shortest_edge", "longest_edge")}
    return processed_side(known, vision.patch_size * vision.spatial_merge_size)
