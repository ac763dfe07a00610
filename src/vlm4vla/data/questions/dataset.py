"""Question sets: images with statements, stored as an Arrow dataset in the format of `datasets`.

Images are PNGs that are decoded when a batch needs them for the first time (packed_images.py). In sets of an
earlier version, they are pixels in memory-mapped files. The package `datasets` is not imported here, which
saves one second in every job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.data.questions.statements import Statement

TRAIN, HELD_OUT = "train", "held_out"
NEEDED = ("image", "statements")
SEPARATOR = "\t"  # occurs in no question


class ImageRows(Protocol):
    """Images of one size."""

    def rows(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the pixels of the images `ids` as (len(ids), H * W * 3) uint8."""


@dataclass(frozen=True)
class QuestionSet:
    """The images of a split and the statements about them.

    `statements` holds each distinct statement once. Image i has the statements with the numbers
    `numbers[starts[i]:starts[i + 1]]`.
    """

    folder: Path
    image_size: int
    statements: Sequence[Statement]
    numbers: np.ndarray
    starts: np.ndarray
    pictures: ImageRows | None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def statement_numbers(self, picture: int) -> np.ndarray:
        """Return the numbers of an image's statements."""
        return self.numbers[self.starts[picture] : self.starts[picture + 1]]

    def images(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the images `ids` as (len(ids), H, W, 3) uint8."""
        side = self.image_size
        return self.pictures.rows(ids).reshape(len(ids), side, side, 3)

    def reworded(self, change: Callable[[str], str]) -> QuestionSet:
        """Return the same images with `change` applied to every question."""
        statements = [Statement(s.set, change(s.question), s.answer) for s in self.statements]
        return replace(self, statements=statements)

    def sets(self) -> set[str]:
        """Return the names of the question sets that the statements belong to."""
        return {statement.set for statement in self.statements}

    def set_numbers(self, names: Sequence[str]) -> np.ndarray:
        """Return (statements,): the index of each statement's set in `names`, or -1 if it is not there."""
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers.get(statement.set, -1) for statement in self.statements])


def gather_rows(chunks: list[np.ndarray], ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Copy the rows `ids` of a column that is stored as chunks (n, length): (len(ids), length) uint8."""
    starts = np.cumsum([0, *map(len, chunks)])
    out = np.empty((len(ids), chunks[0].shape[1]), dtype=np.uint8)
    for row, (chunk, number) in enumerate(
        zip(np.searchsorted(starts, ids, side="right") - 1, ids, strict=True)
    ):
        out[row] = chunks[chunk][number - starts[chunk]]
    return out


def read_table(folder: Path) -> pa.Table:
    """Memory-map an Arrow dataset that `datasets` has saved. Raises UserError if it is incomplete."""
    try:
        files = [
            entry["filename"] for entry in parse_json((folder / "state.json").read_text())["_data_files"]
        ]
        tables = [pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all() for name in files]
        return pa.concat_tables(tables)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: not a complete Arrow dataset ({one_line(str(error))}): generate the questions again"
        ) from None


def pixels(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Return the chunks of a binary column, (n, length) uint8 each, without copying."""
    return [_chunk_pixels(chunk) for chunk in column.chunks if len(chunk)]


def _chunk_pixels(chunk: pa.Array) -> np.ndarray:
    wide = pa.types.is_large_binary(chunk.type)
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int64 if wide else np.int32)
    offsets = offsets[chunk.offset : chunk.offset + len(chunk) + 1]
    lengths = np.unique(np.diff(offsets))
    if len(lengths) != 1:
        raise UserError(f"images of {len(lengths)} sizes in one dataset: generate the questions again")
    values = np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return values.reshape(len(chunk), int(lengths[0]))
