"""Copy the encoded images in a dataset's tables to memory-mapped Arrow files, for fast random access.

To read one row of a Parquet file, a whole row group has to be decompressed. So the encoded images are copied
once, in batches, to Arrow files of `PART` rows, which are memory-mapped for reading. An interrupted copy
resumes after its last complete file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.core.disk import check_room
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.parquet import PARQUET_FAULTS
from vlm4vla.data.pictures.decoding import PictureError, check_encoded
from vlm4vla.data.pictures.png import decode

PART = 1 << 14  # rows per file
BATCH = 1 << 8  # rows per batch of a file
SCHEMA = pa.schema({"bytes": pa.large_binary()})


def copy_pictures(
    files: list[Path], column: str, rows: int, folder: Path, kept: np.ndarray | None = None
) -> None:
    """Copy the encoded images of `column` (structs of bytes and path) from Parquet `files` to `folder`.

    `rows`: number of images to copy. `kept`: (N,) bool, which of all N images these are; None copies all.
    Raises UserError for a row without bytes, if the number of rows is not `rows`, and for a disk without
    enough space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    complete = 0
    while _part(folder, complete).is_file():
        complete += 1
    done = min(complete * PART, rows)
    # An estimate: the tables also have other columns, but they may be compressed.
    needed = sum(file.stat().st_size for file in files) * (1 - done / rows)
    check_room(folder, needed, f"{folder}: the copy of the images", "write another `results` folder")
    progress = Progress(f"images of {column}", rows, done)
    batches = _batches(_read_pieces(files, column, done, kept))
    for first in batches:
        with (
            atomic_path(_part(folder, complete)) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, SCHEMA) as file,
        ):
            for array in chain([first], islice(batches, PART // BATCH - 1)):
                file.write_batch(pa.record_batch([array], schema=SCHEMA))
                done += len(array)
                progress.update(min(done, rows))
        complete += 1
    if done != rows:
        raise UserError(f"{files[0].parent}: {done} images for {rows} frames: write the dataset again")


def _batches(pieces: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Yield the same rows in arrays of `BATCH` rows; the last array may have fewer."""
    rest = pa.array([], SCHEMA.field(0).type)
    for piece in pieces:
        rest = pa.concat_arrays([rest, piece])
        while len(rest) >= BATCH:
            yield rest[:BATCH]
            rest = rest[BATCH:]
    if len(rest):
        yield rest


def _read_pieces(files: list[Path], column: str, skip: int, kept: np.ndarray | None) -> Iterator[pa.Array]:
    """Yield the encoded images after the first `skip`. Files and row groups before them are not read.

    With `kept` (N,) bool, the others of the N images neither count nor are yielded.
    """
    row = 0
    if kept is not None and skip:
        skip = int(np.flatnonzero(kept)[skip - 1]) + 1
    for file in files:
        try:
            table = pq.ParquetFile(file)
        except PARQUET_FAULTS:
            raise _damaged(file) from None
        if column not in table.schema_arrow.names:
            raise UserError(f"{file}: column {column!r} is missing: write the images there, or as a video")
        if row + table.metadata.num_rows <= skip:
            row += table.metadata.num_rows
            continue
        groups = []
        for group in range(table.num_row_groups):
            count = table.metadata.row_group(group).num_rows
            if not groups and row + count <= skip:
                row += count
            else:
                groups.append(group)
        for batch in _batches_of(file, table, groups, column):
            encoded = _bytes(batch.column(0), row, file, column)
            begin = max(skip - row, 0)
            own = None if kept is None else pa.array(kept[row + begin : row + len(encoded)])
            yield encoded[begin:] if own is None else encoded[begin:].filter(own)
            row += len(encoded)


def _batches_of(
    file: Path, table: pq.ParquetFile, groups: list[int], column: str
) -> Iterator[pa.RecordBatch]:
    try:
        yield from table.iter_batches(batch_size=BATCH, row_groups=groups, columns=[column])
    except PARQUET_FAULTS:
        raise _damaged(file) from None


def _damaged(file: Path) -> UserError:
    return UserError(f"{file}: not a complete Parquet file: download the dataset again, or write it again")


def _bytes(pictures: pa.Array, row: int, file: Path, column: str) -> pa.Array:
    kind = pictures.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        pictures = pictures.field("bytes")
    if not (pa.types.is_binary(pictures.type) or pa.types.is_large_binary(pictures.type)):
        raise UserError(
            f"{file}: column {column!r} has the type {kind}, not encoded images: write them as bytes"
        )
    if pictures.null_count:
        bad = row + pictures.is_null().index(True).as_py()
        raise UserError(
            f"{file}: image {bad} of {column!r} is a separate file: write the images into the tables, or as "
            "a video"
        )
    pictures = pictures.cast(pa.large_binary())
    for number, data in enumerate(pictures, start=row):
        try:
            check_encoded(data.as_py())
        except PictureError as error:
            raise UserError(f"{file}: image {number} of {column!r} cannot be read: {error}") from None
    return pictures


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.arrow"


class EncodedPictures:
    """Reads single images from the memory-mapped files that `copy_pictures` wrote."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._parts: dict[int, pa.ipc.RecordBatchFileReader] = {}

    def picture(self, row: int) -> np.ndarray:
        """Return an image as (H, W, 3) uint8. Raises UserError if its file is missing or damaged."""
        number, rest = divmod(row, PART)
        path = _part(self.folder, number)
        try:
            if number not in self._parts:
                self._parts[number] = pa.ipc.open_file(pa.memory_map(str(path)))
            batch = self._parts[number].get_batch(rest // BATCH)
            return decode(batch.column(0)[rest % BATCH].as_py())
        except (OSError, ValueError, IndexError) as error:  # of Arrow, or of the decoder
            raise UserError(
                f"{path}: image {row} cannot be read: {error}, and generate the demonstrations again"
            ) from None
