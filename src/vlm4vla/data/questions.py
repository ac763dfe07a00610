"""Question-answer sets: pictures with statements, as an Arrow data set that `datasets` writes and reads.

The Arrow files are mapped, not loaded: pictures stay on disk until a batch asks for them. `datasets` itself
is not imported, which saves a second in every job.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm4vla.artefacts import UserError

TRAIN, HELD_OUT = "train", "held_out"
NEEDED = ("image", "statements")
SEPARATOR = "\t"  # stands in no question


class Statement(NamedTuple):
    """One question about a picture and its answer; `set` is the question set's name."""

    set: str
    question: str
    answer: str


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


def read_questions(folder: Path, split: str) -> Questions:
    """One split (`train` or `held_out`) of the folder that the stage questions or auxiliary-data makes.

    Raises UserError when a file or column is missing or a picture has another size.
    """
    from vlm4vla.data.picture_questions import INFO, read_picture_questions

    if (Path(folder) / INFO).is_file():  # made of public sets
        return read_picture_questions(Path(folder), split)
    folder = Path(folder) / split
    table = read_table(folder)
    for name in NEEDED:
        if name not in table.column_names:
            raise UserError(f"{folder}: column {name!r} is missing: make the questions again")
    if not table.num_rows:
        raise UserError(f"{folder}: holds no picture: make the questions again")
    pictures = pixels(table["image"])
    sizes = {piece.shape[1] for piece in pictures}
    side = math.isqrt(sizes.pop() // 3)
    if sizes or side * side * 3 != pictures[0].shape[1]:
        raise UserError(f"{folder}: pictures are not all of one square size: make the questions again")
    column = table["statements"].combine_chunks()
    fields = pc.list_flatten(column)
    keys = pc.binary_join_element_wise(*(fields.field(name) for name in Statement._fields), SEPARATOR)
    coded = keys.dictionary_encode()
    return Questions(
        folder=folder,
        image_size=side,
        statements=[Statement(*key.split(SEPARATOR)) for key in coded.dictionary.to_pylist()],
        numbers=coded.indices.to_numpy(),
        starts=np.concatenate([[0], np.cumsum(column.value_lengths().to_numpy())]),
        pictures=pictures,
    )


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
