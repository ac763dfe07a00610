"""Rows of Parquet tables: local files read by pyarrow, or a dataset of the hub streamed by `datasets`.

Images stay encoded: the image columns of Hugging Face are structs of `bytes` and `path`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.core.errors import UserError
from vlm4vla.data.parquet import PARQUET_FAULTS

AT_ONCE = 64  # rows in memory


class ParquetRows:
    """The rows of `files`, in order. A position is the index of a file and the number of its rows read.

    Raises UserError if a file is incomplete or lacks one of `columns`.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]):
        self.files = list(files)
        self.columns = list(dict.fromkeys(columns))
        self.position = [0, 0]
        for file in self.files:
            check_columns(str(file), _schema(file), self.columns)

    def read(self, position: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Rows`. Row groups before the position are not read."""
        begin, skip = position or (0, 0)
        for number, file in enumerate(self.files[begin:], begin):
            row = 0
            with _opened(file) as table:
                for group in range(table.num_row_groups):
                    count = table.metadata.row_group(group).num_rows
                    if number == begin and row + count <= skip:
                        row += count
                        continue
                    for piece in table.iter_batches(AT_ONCE, row_groups=[group], columns=self.columns):
                        for record in piece.to_pylist():
                            row += 1
                            if number == begin and row <= skip:
                                continue
                            self.position = [number, row]
                            yield str(file), record
            self.position = [number + 1, 0]


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file) as table:
            yield table
    except PARQUET_FAULTS:
        raise UserError(f"{file}: incomplete or damaged Parquet file: copy the file again") from None


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except PARQUET_FAULTS:
        raise UserError(f"{file}: incomplete or damaged Parquet file: copy the file again") from None


def check_columns(where: str, found: pa.Schema | Sequence[str], wanted: Sequence[str]) -> None:
    """Raise UserError if a table lacks one of the `wanted` columns."""
    names = found.names if isinstance(found, pa.Schema) else list(found)
    for name in wanted:
        if name not in names:
            raise UserError(
                f"{where}: column {name!r} is missing: write another one in `columns` "
                f"(found: {', '.join(names)})"
            )


class HubRows:
    """A split of a dataset of the hub, streamed at one revision. A position is the stream's `state_dict`."""

    def __init__(self, name: str, revision: str, split: str, columns: Sequence[str]):
        import datasets

        self.name = f"{name}@{revision}"
        try:
            stream = datasets.load_dataset(name, revision=revision, split=split, streaming=True)
        except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
            raise UserError(
                f"dataset {name!r} at {revision!r}, split {split!r}: cannot be read "
                f"({str(error).splitlines()[0]}): check name, revision and split, or write a local folder"
            ) from None
        features = stream.features or {}
        wanted = list(dict.fromkeys(columns))
        if features:
            check_columns(self.name, list(features), wanted)
            stream = stream.select_columns(wanted)
            for column in wanted:
                if isinstance(features[column], datasets.Image):
                    stream = stream.cast_column(column, datasets.Image(decode=False))
            stream = stream.decode(False)  # images inside lists too
        self.stream = stream
        self._begin: Any = None
        self._reading = False

    def read(self, position: Any = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Rows`. Files before the position are not downloaded."""
        self._begin, self._reading = position, False
        if position is not None:
            self.stream.load_state_dict(position)
        for record in self.stream:
            self._reading = True
            yield self.name, record

    @property
    def position(self) -> Any:
        """See `Rows`."""
        return self.stream.state_dict() if self._reading else self._begin
