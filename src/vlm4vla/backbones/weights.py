"""Checks of a Hugging Face folder's weights and family that load neither the weights nor torch."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vlm4vla.core.errors import UserError


def family_of(folder: Path) -> str:
    """The family (a key of `registry.FAMILIES`) of a folder's config.json; for other models, the model type.

    Raises UserError if config.json is missing or has no model_type.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        model_type = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder}: config.json has no model_type: write the folder of a vision-language model"
        ) from None
    # PaliGemma 2 shares PaliGemma's model type.
    text = config.get("text_config") or {}
    return "paligemma2" if model_type == "paligemma" and text.get("model_type") == "gemma2" else model_type


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files; UserError if one is missing, truncated or otherwise unreadable.

    Only the headers are read, because the header of a safetensors file states the length of the file.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json: write a Hugging Face folder of a vision-language model")
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
                f"{file}: not a complete safetensors file ({error}): download or pre-train the backbone again"
            ) from None
    return files
