"""Rows of JSON files. A file is a list of objects, or has one object per line; it is read in pieces.

Parsing a list of a million objects at once would take several times the file's size in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from vlm4vla.core.errors import UserError

PIECE = 2**20  # characters
LONGEST = 2**26  # characters of one row


class JsonRows:
    """The rows of `files`, in order. A position is the index of a file and the number of its rows read."""

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self.position = [0, 0]

    def read(self, position: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Rows`. Raises UserError if a file is not JSON or contains anything other than objects."""
        begin, skip = position or (0, 0)
        for number, file in enumerate(self.files[begin:], begin):
            for row, record in enumerate(records(file)):
                if number == begin and row < skip:
                    continue
                self.position = [number, row + 1]
                yield str(file), record
            self.position = [number + 1, 0]


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON list, or of a file with one object per line."""
    with path.open(encoding="utf-8") as handle:
        for number, value in enumerate(_values(handle, path)):
            if not isinstance(value, dict):
                raise UserError(f"{path}: element {number} is not an object: write a list of objects")
            yield value


def _values(handle: TextIO, path: Path) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    text, at, ended, began, listed = "", 0, False, False, False
    while True:
        at = _after(text, at, " \t\r\n\ufeff")
        if not began and at < len(text):
            began, listed = True, text[at] == "["
            at += listed
            continue
        if began and listed:
            at = _after(text, at, " \t\r\n,")
            if at < len(text) and text[at] == "]":
                return
        value, end = _value(decoder, text, at, path)
        # A number at the end of a piece may continue in the next piece.
        if end is not None and (end < len(text) or ended):
            at = end
            yield value
            continue
        if ended:
            if at < len(text) or listed or not began:
                raise UserError(f"{path}: incomplete JSON: write a list of objects, or one object per line")
            return
        if len(text) - at > LONGEST:
            raise UserError(
                f"{path}: one element has over {LONGEST} characters: write a list of objects, one per image"
            )
        piece = _read(handle, path)
        ended, text, at = not piece, text[at:] + piece, 0


def _after(text: str, at: int, skipped: str) -> int:
    while at < len(text) and text[at] in skipped:
        at += 1
    return at


def _value(decoder: json.JSONDecoder, text: str, at: int, path: Path) -> tuple[Any, int | None]:
    """Return the value that starts at `at`, and its end. The end is None if the value is incomplete."""
    if at == len(text):
        return None, None
    try:
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError:
        return None, None
    except (ValueError, RecursionError) as error:  # a number of many digits, or values nested too deep
        raise UserError(
            f"{path}: not JSON that can be read ({str(error)[:100]}): write a list of objects, or one object "
            "per line"
        ) from None


def _read(handle: TextIO, path: Path) -> str:
    try:
        return handle.read(PIECE)
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file: write a list of objects, or one object per line") from None
