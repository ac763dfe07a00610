"""Question-answer sets whose pictures are encoded or files: statements stay in the mapped Arrow files too.

What `auxiliary.public.writer` makes. `PictureQuestions` is read like `Questions`, but holds nothing in memory
that grows with the words of the set: a statement is made when it is asked for, and so is a picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.files import PictureFile, decode_all
from vlm4vla.data.questions.dataset import Questions, read_table
from vlm4vla.data.questions.statements import Statement

INFO = "set.json"  # beside the splits
_STATEMENT = pa.struct([(name, pa.string()) for name in Statement._fields])
SCHEMA = pa.schema(
    [
        ("source", pa.string()),  # name of the set of a mixture
        ("sample", pa.string()),  # id in that set
        ("data", pa.large_binary()),
        ("path", pa.string()),
        ("seconds", pa.float64()),
        ("frames", pa.int32()),
        ("statements", pa.list_(_STATEMENT)),
    ]
)


def row_of(
    task: str, source: str, sample: str, picture: PictureFile, statements: Collection[tuple[str, str]]
) -> dict[str, Any]:
    """A row of `SCHEMA`."""
    return {
        "source": source,
        "sample": sample,
        "data": picture.data,
        "path": picture.path,
        "seconds": picture.seconds,
        "frames": picture.frames,
        "statements": [{"set": task, "question": q, "answer": a} for q, a in statements],
    }


class StatementColumns(Sequence):
    """Statements of Arrow columns, made when they are asked for; `reworded` changes their questions."""

    def __init__(
        self, columns: dict[str, pa.ChunkedArray], reworded: Callable[[str], str] = lambda question: question
    ):
        self.columns = columns
        self.reworded = reworded

    def __len__(self) -> int:
        return len(self.columns["set"])

    def __getitem__(self, number: int) -> Statement:
        said, question, answer = (self.columns[name][int(number)].as_py() for name in Statement._fields)
        return Statement(said, self.reworded(question), answer)

    def __iter__(self) -> Iterator[Statement]:
        for chunks in zip(*(self.columns[name].chunks for name in Statement._fields), strict=True):
            for said, question, answer in zip(*(chunk.to_pylist() for chunk in chunks), strict=True):
                yield Statement(said, self.reworded(question), answer)


@dataclass(frozen=True)
class PictureQuestions(Questions):
    """`table`: the rows of a split; `folders`: what the paths of each source are below."""

    table: pa.Table = field(kw_only=True)
    folders: dict[str, Path] = field(kw_only=True)

    def picture(self, number: int) -> tuple[PictureFile, Path]:
        """A picture that is not decoded, and the folder of its path."""
        row = {name: self.table[name][int(number)].as_py() for name in ("data", "path", "seconds", "frames")}
        return PictureFile(**row), self.folders[self.table["source"][int(number)].as_py()]

    def images(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        found = [self.picture(number) for number in ids]
        placed = [
            each if each.path is None else replace(each, path=str(folder / each.path))
            for each, folder in found
        ]
        return decode_all(placed, Path(), self.image_size)

    def reworded(self, change: Callable[[str], str]) -> PictureQuestions:
        return replace(self, statements=StatementColumns(self.statements.columns, change))

    def sets(self) -> set[str]:
        return set(pc.unique(self.statements.columns["set"]).to_pylist())

    def set_numbers(self, names: Sequence[str]) -> np.ndarray:
        found = pc.index_in(self.statements.columns["set"], value_set=pa.array(names, pa.string()))
        return pc.fill_null(found, -1).to_numpy()


def read_picture_questions(folder: Path, split: str) -> PictureQuestions:
    """One split of a folder that the stage auxiliary-data has made of public sets. Raises UserError."""
    try:
        info = json.loads((folder / INFO).read_text())
        size = int(info["image_size"])
        folders = {name: Path(path) for name, path in info["folders"].items()}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / INFO}: cannot be read ({error!r}): make the data again") from None
    table = read_table(folder / split)
    for name in SCHEMA.names:
        if name not in table.column_names:
            raise UserError(f"{folder / split}: column {name!r} is missing: make the data again")
    if not table.num_rows:
        raise UserError(f"{folder / split}: holds no picture: make the data again")
    parts = [pc.list_flatten(chunk) for chunk in table["statements"].chunks]
    columns = {name: pa.chunked_array([part.field(name) for part in parts]) for name in Statement._fields}
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in table["statements"].chunks])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return PictureQuestions(
        folder=folder / split,
        image_size=size,
        statements=StatementColumns(columns),
        numbers=np.arange(starts[-1]),
        starts=starts,
        pictures=[],
        table=table,
        folders=folders,
    )
