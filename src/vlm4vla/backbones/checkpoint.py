"""Loading of backbones from Hugging Face folders, with checks before transformers reads them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.complete_folder import PROBES, check_complete
from vlm4vla.backbones.finite import check_finite_folder
from vlm4vla.backbones.folder_files import COPY, LONGEST_REASON
from vlm4vla.backbones.generic.checks import check_states
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.processor import load_processor
from vlm4vla.backbones.generic.refused import check_model
from vlm4vla.backbones.generic.shrinking import TINY_SIDE
from vlm4vla.backbones.image_size import STUDY_IMAGE_SIZE, processed_side
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class_of
from vlm4vla.backbones.vocabulary import has_word_tokens
from vlm4vla.backbones.weights import Dtype
from vlm4vla.core.errors import UserError, one_line

# A folder may name Python files of its own (auto_map). Without this, transformers asks at the terminal.
OWN_CODE = {"trust_remote_code": False}


def load_folder(
    folder: Path, *, image_size: int | None = None, dtype: Dtype = "float32", generic: bool = False
) -> LoadedBackbone:
    """Load a backbone; see `vlm4vla.backbones.load`.

    `dtype`: the type of the weights in memory. `generic`: whether to use the generic adapter even if the
    family has one of its own.
    """
    loaded = _load(folder, image_size, {"dtype": getattr(torch, dtype)}, generic)
    check_finite_folder(loaded.model.state_dict(), folder, "download or pre-train the backbone again")
    if loaded.adapter.is_generic:
        check_states(loaded, str(folder))
    return loaded


def check_folder(folder: Path) -> None:
    """Raise UserError if `load_folder` would reject the folder, without loading weights into memory.

    The model is built on the meta device, where weights have names and shapes but no values.
    """
    load_meta(folder)


def load_meta(folder: Path) -> LoadedBackbone:
    """The backbone in a folder without its weights, which only have names and shapes."""
    return _load(folder, None, {"device_map": {"": "meta"}, "dtype": torch.float32})


def _load(
    folder: Path, image_size: int | None, options: dict[str, Any], generic: bool = False
) -> LoadedBackbone:
    check_complete(folder, generic=generic)
    with in_one_line(folder):
        config = AutoConfig.from_pretrained(folder, **OWN_CODE)
    family: type[Adapter] = GenericAdapter if generic else adapter_class_of(config, str(folder))
    if issubclass(family, GenericAdapter):
        check_model(config, str(folder))
    with in_one_line(folder):
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            attn_implementation=family.attention,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are in the report
            **OWN_CODE,
            output_loading_info=True,
            **options,
        )
    check_weights(folder, report)
    with in_one_line(folder):
        if issubclass(family, GenericAdapter):
            processor = load_processor(folder)
            tokenizer, image_processor = processor.tokenizer, processor.image_processor
            size = image_size or _study_image_size(model.config, image_processor)
            adapter: Adapter = family(model.config, processor, size, str(folder))
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **OWN_CODE)
            image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **OWN_CODE)
            size = image_size or _own_image_size(model.config, image_processor)
            adapter = family(model.config, tokenizer, size)
    _check_prompts(folder, adapter, model.get_input_embeddings().weight.shape[0])
    with in_one_line(folder):
        loaded = LoadedBackbone(model, tokenizer, image_processor, adapter)
    if not has_word_tokens(loaded) and loaded.prompt_ids(PROBES[0]) == loaded.prompt_ids(PROBES[1]):
        raise UserError(f"{folder}: the tokenizer turns two instructions into one prompt: {COPY}")
    return loaded


@contextlib.contextmanager
def in_one_line(folder: Path) -> Iterator[None]:
    """Turn an error of transformers about a folder's content into a UserError."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # transformers raises errors of many types for wrong content
        lines = [one_line(line)[:LONGEST_REASON] for line in str(error).strip().splitlines()] or [""]
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder}: needs code that is in the folder itself, which is not run: write a checkpoint "
                "of a family that transformers knows"
            ) from None
        raise UserError(
            f"{folder}: transformers cannot load it ({type(error).__name__}: {lines[0]}): download the "
            "checkpoint again, or write another one"
        ) from error


def check_weights(folder: Path, report: dict[str, Any]) -> None:
    """Raise UserError if transformers' loading report names weights that are missing or of another shape."""
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"{folder}: the weights of {missing[0]} and {len(missing) - 1} others are missing: download or "
            "pre-train the backbone again"
        )
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise UserError(
            f"{folder}: {name} has the shape {tuple(stored)}, but by config.json it has {tuple(expected)}: "
            "config.json or the weights are of another checkpoint; download the checkpoint again"
        )


def _check_prompts(folder: Path, adapter: Adapter, rows: int) -> None:
    """Raise UserError if the tokenizer lacks what a batch needs, or has ids without an embedding."""
    tokenizer = adapter.tokenizer
    if tokenizer.pad_token_id is None:
        raise UserError(f"{folder}/tokenizer_config.json: no pad_token: {COPY}")
    end = adapter.end_id()
    if end is None or (end == tokenizer.unk_token_id and adapter.end != tokenizer.unk_token):
        raise UserError(f"{folder}: the tokenizer has no token {adapter.end}, which ends an answer: {COPY}")
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise UserError(
            f"{folder}: the tokenizer has the id {largest}, but the word embedding has {rows} rows: {COPY}"
        )


def _study_image_size(config: Any, image_processor: Any) -> int:
    """The image size that a model without an adapter of its own gets, in pixels.

    It is the study's, and the checkpoint's image processor then resizes the images. Only a tiny model has a
    smaller one, which its config.json states or which follows from the configuration.
    """
    stated = getattr(config, TINY_SIDE, None)
    if isinstance(stated, int) and stated > 0:
        return stated
    size = getattr(getattr(config, "vision_config", None), "image_size", None)
    side = size[0] if isinstance(size, (list, tuple)) else size
    area = getattr(getattr(image_processor, "size", None), "longest_edge", None)
    limits = [side, math.isqrt(area) if area is not None and area > STUDY_IMAGE_SIZE else area]
    return min([STUDY_IMAGE_SIZE, *(limit for limit in limits if limit)])


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
