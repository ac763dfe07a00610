"""The files from which transformers' AutoProcessor loads the processor of a policy's backbone.

A policy's folder has the weights of the backbone in a subfolder, and the files of its processor also at the
top: `AutoProcessor.from_pretrained(folder)` reads them there, as it does on the hub. It needs the tokenizer's
files, `preprocessor_config.json` (the image processor) and `processor_config.json` (the class of the
processor). The classes of Qwen and InternVL also load a video processor, which needs torchvision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm4vla.core.artefacts import atomic_path, write_json

if TYPE_CHECKING:
    from vlm4vla.backbones.adapter import Adapter

PROCESSOR = "processor_config.json"
COPIED = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    PROCESSOR,
)


def write_processor_files(adapter: Adapter, backbone: Path, folder: Path) -> None:
    """Write to `folder` the processor of the backbone that is saved in the folder `backbone`.

    The files are those in `backbone`. They get the keys that the family's own processor needs, if they lack
    them (`Adapter.processor_files`). A family that transformers has no processor for gets no class.
    """
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(adapter.config.model_type)
    added = adapter.processor_files()
    added[PROCESSOR] = ({"processor_class": name} if name else {}) | added.get(PROCESSOR, {})
    for file in COPIED:
        source, keys = backbone / file, added.get(file)
        if keys:
            own = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
            write_json(folder / file, _merged(keys, own))
        elif source.is_file():
            with atomic_path(folder / file) as temporary:
                temporary.write_bytes(source.read_bytes())


def _merged(keys: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` with those of `keys` that it lacks. Lists and null in `own` do not count as settings."""
    return own | {name: value for name, value in keys.items() if not own.get(name)}
