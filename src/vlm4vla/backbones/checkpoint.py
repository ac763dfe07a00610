"""Backbones from Hugging Face folders, with faults found before transformers meets them."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from vlm4vla.artefacts import UserError
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.registry import adapter_class_of
from vlm4vla.backbones.weights import weight_files

STUDY_IMAGE_SIZE = 224  # pixels; the study resizes to it before every backbone's own processor


def load_folder(folder: Path, *, image_size: int | None = None) -> LoadedBackbone:
    """See `vlm4vla.backbones.load`."""
    weight_files(folder)
    family = adapter_class_of(AutoConfig.from_pretrained(folder), str(folder))
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, attn_implementation=family.attention, output_loading_info=True
    )
    if report["missing_keys"]:
        raise UserError(
            f"{folder}: weights of {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} "
            "others are missing: download or pre-train the backbone again"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    size = image_size or _own_image_size(model.config, image_processor)
    return LoadedBackbone(model, tokenizer, image_processor, family(model.config, tokenizer, size))


def _own_image_size(config, image_processor) -> int:
    """Side in pixels that the folder was made for: of the vision config, or of a fixed processor."""
    size = getattr(config.vision_config, "image_size", None)
    if size is not None:
        return size if isinstance(size, int) else size[0]
    edges = image_processor.size
    shortest, longest = edges["shortest_edge"], edges["longest_edge"]  # areas, in Qwen's processors
    return round(shortest**0.5) if shortest == longest else STUDY_IMAGE_SIZE
