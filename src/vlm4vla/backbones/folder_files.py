"""The JSON files of a Hugging Face folder, read with one clear line for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import outside

# The files of a model that the study needs. Pickled weights (*.bin, *.pt) are not among them.
PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
POINTER = b"version https://git-lfs.github.com/spec/"
LONGEST_REASON = 300  # characters of another library's error in a message
AGAIN = "download the checkpoint again"
COPY = "copy the tokenizer's files from the checkpoint that this one was made from"


class MissingFileError(UserError):
    """A file of a folder is missing. In a cache of the hub, a download can still bring it."""


def check_no_pointer(file: Path) -> None:
    """Raise UserError if `file` is empty, a dead link, or a pointer that Git left in place of the file."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(POINTER))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}): {AGAIN}") from None
    if start == POINTER:
        raise UserError(
            f"{file}: a Git LFS pointer, not the file itself: run `git lfs pull` in the folder that was "
            f"cloned, or {AGAIN}"
        )
    if not start:
        raise UserError(f"{file}: the file is empty: {AGAIN}")


def check_no_pointers(folder: Path) -> None:
    """Do what `check_no_pointer` does for every file that the study needs.

    Links out of the folder raise UserError, too. Empty safetensors are left to the check of the weights, and
    other texts may be empty.
    """
    for pattern in PATTERNS:
        for file in sorted(folder.glob(pattern)):
            if file.exists() and (problem := outside(folder, file.name)) is not None:
                raise UserError(f"{file}: {problem}")
            if file.suffix in (".json", ".model") or not file.exists() or file.stat().st_size:
                check_no_pointer(file)


def read_json(file: Path, purpose: str, *, unique: bool = False) -> dict[str, Any]:
    """The object in a JSON file. `purpose`: what the file is for, in the message about a missing file.

    `unique`: whether no key may occur twice. Raises UserError if the file is missing, empty, a Git LFS
    pointer or not JSON.
    """
    if not file.is_file() and not file.is_symlink():
        raise MissingFileError(f"{file.parent}: {file.name} is missing ({purpose}): {AGAIN}")
    check_no_pointer(file)
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text, object_pairs_hook=_without_repetition if unique else None)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not a JSON file ({error}): {AGAIN}") from None
    if not isinstance(found, dict):
        raise UserError(f"{file}: not a JSON object, but a {type(found).__name__}: {AGAIN}")
    return found


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found
