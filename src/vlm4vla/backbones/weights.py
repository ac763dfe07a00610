"""A Hugging Face folder's weights and family, checked without loading them, nor torch."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vlm4vla.core.errors import UserError


def family_of(folder: Path) -> str:
    """The family (key of `backbones.FAMILIES`) of a folder's config.json, or a model type that is none."""
    try:
        config = json.loads((folder / "config.json").read_text())
        model_type = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder}: config.json names no model_type: give the folder of a vision-language model"
        ) from None
    # PaliGemma 2 shares PaliGemma's model type.
    text = config.get("text_config") or {}
    return "paligemma2" if model_type == "paligemma" and text.get("model_type") == "gemma2" else model_type


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files; UserError when one is missing, cut short or otherwise unreadable.

    Only headers are read: a safetensors file's header says how long the file must be.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json: give a Hugging Face folder of a vision-language model")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        files = [folder / name for name in names]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            raise UserError(f"{folder}: {file.name} is missing: download or pre-train the backbone again")
        try:
            with safe_open(file, framework="numpy") as tensors:
                tensors.keys()
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{file}: not a whole safetensors file ({error}): download or pre-train the backbone again"
            ) from None
    return files
