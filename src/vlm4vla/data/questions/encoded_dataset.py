"""Question sets built from public datasets: images are encoded bytes or files, decoded when they are needed.

`auxiliary.public.writer` writes them. `EncodedQuestionSet` has the interface of `QuestionSet`, but its memory
use does not grow with the text of the set. The statements stay in the memory-mapped Arrow files, and each one
is created when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.files import PictureFile, decode_pictures
from vlm4vla.data.questions.dataset import QuestionSet, read_table
from vlm4vla.data.questions.statements import Statement

INFO = "set.json"  # next to the splits
_STATEMENT = pa.struct([(name, pa.string()) for name in Statement._fields])
SCHEMA = pa.schema(
    [
        ("source", pa.string()),  # name of the public dataset within a mixture
        ("sample", pa.string()),  # id within that dataset
        ("data", pa.large_binary()),
        ("path", pa.string()),
        ("seconds", pa.float64()),
        ("frames", pa.int32()),
        ("statements", pa.list_(_STATEMENT)),
    ]
)


def dataset_row(
    task: str, source: str, sample: str, picture: PictureFile, statements: Collection[tuple[str, str]]
) -> dict[str, Any]:
    """Return a row with the columns of `SCHEMA`; `statements` are pairs of question and answer."""
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
    """A sequence of statements that creates each one from Arrow columns when it is needed.

    `reworded` is applied to every question.
    """

    def __init__(
        self, columns: dict[str, pa.ChunkedArray], reworded: Callable[[str], str] = lambda question: question
    ):
        self.columns = columns
        self.reworded = reworded

    def __len__(self) -> int:
        return len(self.columns["set"])

    def __getitem__(self, number: int) -> Statement:
        name, question, answer = (self.columns[key][int(number)].as_py() for key in Statement._fields)
        return Statement(name, self.reworded(question), answer)

    def __iter__(self) -> Iterator[Statement]:
        for chunks in zip(*(self.columns[key].chunks for key in Statement._fields), strict=True):
            for name, question, answer in zip(*(chunk.to_pylist() for chunk in chunks), strict=True):
                yield Statement(name, self.reworded(question), answer)


@dataclass(frozen=True)
class EncodedQuestionSet(QuestionSet):
    """A question set with encoded images.

    `table`: the rows of a split. `folders`: the folder of each source, to which image paths are relative.
    """

    table: pa.Table = field(kw_only=True)
    folders: dict[str, Path] = field(kw_only=True)

    def picture(self, number: int) -> tuple[PictureFile, Path]:
        """Return an image without decoding it, and the folder to which its path is relative."""
        names = ("data", "path", "seconds", "frames", "sample", "source")
        row = {name: self.table[name][int(number)].as_py() for name in names}
        folder = self.folders[row.pop("source")]
        name = f"{folder}: the image of sample {row.pop('sample')!r}"
        return PictureFile(**row, name=name), folder

    def images(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        pictures = [
            picture if picture.path is None else replace(picture, path=str(folder / picture.path))
            for picture, folder in map(self.picture, ids)
        ]
        return decode_pictures(pictures, Path(), self.image_size)

    def reworded(self, change: Callable[[str], str]) -> EncodedQuestionSet:
        return replace(self, statements=StatementColumns(self.statements.columns, change))

    def sets(self) -> set[str]:
        return set(pc.unique(self.statements.columns["set"]).to_pylist())

    def set_numbers(self, names: Sequence[str]) -> np.ndarray:
        found = pc.index_in(self.statements.columns["set"], value_set=pa.array(names, pa.string()))
        return pc.fill_null(found, -1).to_numpy()


def read_encoded_questions(folder: Path, split: str) -> EncodedQuestionSet:
    """Read one split of the output of the stage auxiliary-data, built from public datasets.

    Raises UserError if a file or a column is missing or damaged.
    """
    try:
        info = parse_json((folder / INFO).read_text())
        size = int(info["image_size"])
        folders = {name: Path(path) for name, path in info["folders"].items()}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / INFO}: cannot be read ({error!r}): generate the data again") from None
    table = read_table(folder / split)
    for name in SCHEMA.names:
        if name not in table.column_names:
            raise UserError(f"{folder / split}: column {name!r} is missing: generate the data again")
    if not table.num_rows:
        raise UserError(f"{folder / split}: contains no images: generate the data again")
    parts = [pc.list_flatten(chunk) for chunk in table["statements"].chunks]
    columns = {name: pa.chunked_array([part.field(name) for part in parts]) for name in Statement._fields}
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in table["statements"].chunks])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedQuestionSet(
        folder=folder / split,
        image_size=size,
        statements=StatementColumns(columns),
        numbers=np.arange(starts[-1]),
        starts=starts,
        pictures=None,
        table=table,
        folders=folders,
    )
