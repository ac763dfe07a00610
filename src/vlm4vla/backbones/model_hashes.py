"""The hashes of a finished model's files, which provenance.json records and later stages compare."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.backbones.folder_files import PATTERNS
from vlm4vla.core.artefacts import file_hash, files_of

PROVENANCE = "provenance.json"


def model_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 (hex) of each file of a model, by name: its weights, settings, tokenizer and processor.

    A changed number in a JSON file changes what the model does as much as one in the weights. Subfolders are
    left out, and so is provenance.json, which contains the hashes.
    """
    found = {path for pattern in PATTERNS for path in files_of(folder, pattern) if path.name != PROVENANCE}
    return {path.name: file_hash(path) for path in sorted(found)}
