"""Question-answer sets: pictures with statements, as an Arrow data set that `datasets` writes and reads.

The Arrow files are mapped, not loaded: pictures stay on disk until a batch asks for them. `datasets` itself
is not imported, which saves a second in every job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.statements import Statement

TRAIN, HELD_OUT = "train", "held_out"
NEEDED = ("image", "statements")
SEPARATOR = "\t"  # stands in no question


@dataclass(frozen=True)
class Questions:
    """Pictures and what is asked about them.

    `statements` are the distinct ones; picture i has those numbered `numbers[starts[i]:starts[i + 1]]`.
    """

    folder: Path
    image_size: int
    statements: Sequence[Statement]
    numbers: np.ndarray
    starts: np.ndarray
    pictures: list[np.ndarray]  # pieces (n, H * W * 3) uint8 of the files, mapped

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, picture: int) -> np.ndarray:
        """Numbers of the statements of a picture."""
        return self.numbers[self.starts[picture] : self.starts[picture + 1]]

    def images(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pictures (len(ids), H, W, 3) uint8."""
        side = self.image_size
        return take(self.pictures, ids).reshape(len(ids), side, side, 3)

    def reworded(self, change: Callable[[str], str]) -> Questions:
        """The same pictures, with every question changed."""
        asked = [Statement(s.set, change(s.question), s.answer) for s in self.statements]
        return replace(self, statements=asked)

    def sets(self) -> set[str]:
        """Names of the sets that statements are of."""
        return {statement.set for statement in self.statements}

    def set_numbers(self, names: Sequence[str]) -> np.ndarray:
        """(statements,) the place of each statement's set in `names`, -1 for another."""
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers.get(statement.set, -1) for statement in self.statements])


def take(pieces: list[np.ndarray], ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rows `ids` (len(ids), length) of a column in pieces (n, length), copied."""
    starts = np.cumsum([0, *map(len, pieces)])
    out = np.empty((len(ids), pieces[0].shape[1]), dtype=np.uint8)
    for row, (piece, number) in enumerate(
        zip(np.searchsorted(starts, ids, side="right") - 1, ids, strict=True)
    ):
        out[row] = pieces[piece][number - starts[piece]]
    return out


def read_table(folder: Path) -> pa.Table:
    """An Arrow data set that `datasets` has saved, mapped. UserError when it is not whole."""
    try:
        files = [
            entry["filename"] for entry in json.loads((folder / "state.json").read_text())["_data_files"]
        ]
        tables = [pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all() for name in files]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{folder}: not a whole Arrow data set ({error}): make the questions again") from None
    return pa.concat_tables(tables)


def pixels(column: pa.ChunkedArray) -> list[np.ndarray]:
    """A binary column's pieces, (n, length) uint8 each, without copying."""
    return [_pixels(chunk) for chunk in column.chunks if len(chunk)]


def _pixels(chunk: pa.Array) -> np.ndarray:
    """A binary column of equal lengths as (n, length) uint8, without copying."""
    wide = pa.types.is_large_binary(chunk.type)
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int64 if wide else np.int32)
    offsets = offsets[chunk.offset : chunk.offset + len(chunk) + 1]
    lengths = np.unique(np.diff(offsets))
    if len(lengths) != 1:
        raise UserError(f"pictures of {len(lengths)} sizes in one data set: make the questions again")
    values = np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return values.reshape(len(chunk), int(lengths[0]))
