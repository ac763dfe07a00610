"""A sample of a public dataset, and the interfaces of the streams that read rows and samples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vlm4vla.data.instructions import instruction_text
from vlm4vla.data.pictures.files import PictureFile


@dataclass(frozen=True)
class Sample:
    """One image and its questions with answers. All samples of one `group` are in the same split."""

    id: str
    picture: PictureFile
    statements: tuple[tuple[str, str], ...]  # question, answer
    group: str
    where: str = field(default="", compare=False)  # the file and the row, for messages


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot be used as a sample.

    `where`: the file and the row's id. `problem`: what is wrong and what to write instead. None stands for a
    row without an image; public datasets mix such rows with the others.
    """

    where: str
    problem: str | None


class Rows(Protocol):
    """The rows of a dataset, in an order that never changes."""

    def read(self, position: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row after `position` with the name of its file. None starts at the first row."""
        ...

    @property
    def position(self) -> Any:
        """The position after the last row that `read` yielded, as JSON."""
        ...


class PublicSamples(Protocol):
    """The samples of a dataset, and its invalid rows. `read` and `position` work as in `Rows`."""

    def read(self, position: Any = None) -> Iterator[Sample | InvalidRow]: ...

    @property
    def position(self) -> Any: ...


def picture_group(picture: PictureFile) -> str:
    """Return the name of the image's file, or the hash of its bytes if it has no file."""
    if picture.path is not None:
        return picture.path if picture.seconds is None else f"{picture.path} {picture.seconds}"
    return hashlib.sha256(picture.data or b"").hexdigest()


def plain_text(value: Any) -> str | None:
    """Return a value of a row as text without outer spaces, or None if it is no text.

    Texts with a visible character (data/instructions.py), numbers and booleans have a text. Whole numbers
    have no decimal point, because tables turn a column of integers with gaps into floats; other numbers keep
    all their digits. A list of one value is that value. Null, NaN, blank text, bytes, mappings and other
    lists have no text.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return instruction_text(value)
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        if value.is_integer():
            return str(int(value))
        with np.errstate(over="ignore"):
            single = np.float32(value)
        return str(single) if float(single) == value else f"{value:.15g}"
    return None


def group_name(row: Mapping[str, Any], column: str) -> str:
    """Return the group in `column` of a row, or "" if there is no column or no value."""
    return (plain_text(row.get(column)) if column else None) or ""


def is_held_out(group: str, share: float) -> bool:
    """Return whether a group is in the held-out `share`. Seed, order and size of a dataset do not matter."""
    number = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big")
    return number < share * 2**64
