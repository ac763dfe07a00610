"""A sample of a public set: one picture and what is asked about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from vlm4vla.data.pictures.files import PictureFile


@dataclass(frozen=True)
class Sample:
    """`group`: what decides in which split the sample is; samples of one group are never in both."""

    id: str
    picture: PictureFile
    statements: tuple[tuple[str, str], ...]  # question, answer
    group: str


@dataclass(frozen=True)
class Fault:
    """A row that is no sample. `wrong`: what is wrong and what to write, after the file and the row's id;
    None for a row without a picture, which such sets have among the others."""

    where: str
    wrong: str | None


class Rows(Protocol):
    """A set's rows, in an order that never changes."""

    def read(self, position: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """The file of each row, and the row, after `position` (None: from the first)."""
        ...

    @property
    def position(self) -> Any:
        """Where the row that came last ends, as JSON."""
        ...


class Samples(Protocol):
    """A set's samples, among them the faults of rows that are none; as `Rows`."""

    def read(self, position: Any = None) -> Iterator[Sample | Fault]: ...

    @property
    def position(self) -> Any: ...


def picture_group(picture: PictureFile) -> str:
    """The picture's file, or of one that has none the hash of its bytes."""
    if picture.path is not None:
        return picture.path if picture.seconds is None else f"{picture.path} {picture.seconds}"
    return hashlib.sha256(picture.data or b"").hexdigest()


def is_held_out(group: str, share: float) -> bool:
    """Whether a group belongs to the held-out share: the same for every seed, order and size of a set."""
    number = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big")
    return number < share * 2**64
