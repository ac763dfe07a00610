"""Pictures that a data set keeps inside its tables, as mapped Arrow files: any of them is read at once.

A parquet file has to be decompressed by the row group to get at one row. The encoded pictures are therefore
copied once into Arrow files of `PART` rows, batch by batch, and mapped when they are read. A copy that was
killed goes on behind its last whole file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.pictures.png import decode

PART = 1 << 14  # rows a file
BATCH = 1 << 8  # rows a batch of a file
SCHEMA = pa.schema({"bytes": pa.large_binary()})


def copy_pictures(files: list[Path], column: str, rows: int, folder: Path) -> None:
    """Copy the encoded pictures of `column` (structs of bytes and path) from parquet `files` to `folder`.

    Raises UserError for a row without bytes, for another count than `rows`, and for a disk without room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = 0
    while _part(folder, whole).is_file():
        whole += 1
    done = min(whole * PART, rows)
    needed = sum(file.stat().st_size for file in files) * (1 - done / rows)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: a copy of the pictures takes up to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
            "are free: free some room, or write another `results` folder"
        )
    progress = Progress(f"pictures of {column}", rows, done)
    batches = _batches(_pieces(files, column, done))
    for first in batches:
        with (
            atomic_path(_part(folder, whole)) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, SCHEMA) as file,
        ):
            for array in chain([first], islice(batches, PART // BATCH - 1)):
                file.write_batch(pa.record_batch([array], schema=SCHEMA))
                done += len(array)
                progress.update(min(done, rows))
        whole += 1
    if done != rows:
        raise UserError(f"{files[0].parent}: {done} pictures for {rows} frames: write the data set again")


def _batches(pieces: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """The same rows in arrays of `BATCH`, but for the last."""
    held = pa.array([], SCHEMA.field(0).type)
    for piece in pieces:
        held = pa.concat_arrays([held, piece])
        while len(held) >= BATCH:
            yield held[:BATCH]
            held = held[BATCH:]
    if len(held):
        yield held


def _pieces(files: list[Path], column: str, skip: int) -> Iterator[pa.Array]:
    """Encoded pictures behind the first `skip`, in pieces; files and row groups before them are not read."""
    row = 0
    for file in files:
        table = pq.ParquetFile(file)
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
        for batch in table.iter_batches(batch_size=BATCH, row_groups=groups, columns=[column]):
            found = _bytes(batch.column(0), row, file, column)
            yield found[max(skip - row, 0) :]
            row += len(found)


def _bytes(pictures: pa.Array, row: int, file: Path, column: str) -> pa.Array:
    kind = pictures.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        pictures = pictures.field("bytes")
    if not (pa.types.is_binary(pictures.type) or pa.types.is_large_binary(pictures.type)):
        raise UserError(f"{file}: column {column!r} holds {kind}, no encoded pictures: write them as bytes")
    if pictures.null_count:
        bad = row + pictures.is_null().index(True).as_py()
        raise UserError(
            f"{file}: picture {bad} of {column!r} is a file of its own: write pictures into the tables, or "
            "as a video"
        )
    return pictures.cast(pa.large_binary())


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.arrow"


class EncodedPictures:
    """Reads what `copy_pictures` wrote. Files are mapped: pictures that are not asked for are not read."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._parts: dict[int, pa.ipc.RecordBatchFileReader] = {}

    def picture(self, row: int) -> np.ndarray:
        """(H, W, 3) uint8. UserError when the file is missing or the picture broken."""
        number, rest = divmod(row, PART)
        path = _part(self.folder, number)
        try:
            if number not in self._parts:
                self._parts[number] = pa.ipc.open_file(pa.memory_map(str(path)))
            batch = self._parts[number].get_batch(rest // BATCH)
            return decode(batch.column(0)[rest % BATCH].as_py())
        except (OSError, ValueError, IndexError) as error:  # of Arrow, and of the picture
            raise UserError(
                f"{path}: picture {row} cannot be read ({error}): make the demonstrations again"
            ) from None
