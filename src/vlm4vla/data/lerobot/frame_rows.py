"""Read the tables of a dataset in batches, and check that their rows are the frames that meta/ lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.metadata import Metadata
from vlm4vla.data.parquet import PARQUET_FAULTS

ROWS_PER_BATCH = 1 << 16
NEEDED = ("episode_index", "frame_index", "task_index")
TIME = "timestamp"
NEAR = 0.25  # frames; a stated time may differ from frame_index / fps by so much
_AGAIN = "download the dataset again, or write it again"


@dataclass(frozen=True)
class FrameBatch:
    """Consecutive rows of `file`, n frames.

    `row` and `begin`: the number of the first one in the file and in the dataset. `episode` (n,): indices
    into `Metadata.episodes`. `task_index` (n,): indices into `Metadata.tasks`, or -1 for null.
    """

    file: Path
    table: pa.RecordBatch
    row: int
    begin: int
    episode: np.ndarray
    task_index: np.ndarray


def frame_batches(metadata: Metadata, files: Sequence[Path], names: Sequence[str]) -> Iterator[FrameBatch]:
    """Yield all frames with the columns `names`, in order.

    Raises UserError for a missing or incomplete table or column, a task that meta/ does not have, frames that
    do not match the episodes in meta/, and times that are not multiples of 1 / fps.
    """
    length = metadata.episodes.length
    first, total = np.cumsum(length) - length, int(length.sum())
    done = 0
    for file in files:
        row = 0
        for table in _batches(file, [*NEEDED, *names]):
            numbers = np.arange(done, done + table.num_rows)
            if done + table.num_rows > total:
                raise _wrong_count(metadata, "more", total)
            episode = np.searchsorted(first, numbers, side="right") - 1
            _check_order(table, episode, numbers - first[episode], metadata, file)
            tasks = _tasks(table, len(metadata.tasks), metadata.episodes.index[episode], file)
            yield FrameBatch(file, table, row, done, episode, tasks)
            done += table.num_rows
            row += table.num_rows
    if done != total:
        raise _wrong_count(metadata, str(done), total)


def _wrong_count(metadata: Metadata, found: str, total: int) -> UserError:
    return UserError(
        f"{metadata.folder}/data: has {found} frames, but the episodes in meta/ have {total}: {_AGAIN}"
    )


def _batches(file: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield record batches with the columns `names`, and with the time if the table has it."""
    try:
        table = pq.ParquetFile(file)
        present = table.schema_arrow.names
        for name in names:
            if name not in present:
                raise UserError(f"{file}: column {name!r} is missing: write it (found: {', '.join(present)})")
        wanted = list(dict.fromkeys([*names, *([TIME] if TIME in present else [])]))
        yield from table.iter_batches(batch_size=ROWS_PER_BATCH, columns=wanted)
    except PARQUET_FAULTS:
        raise UserError(f"{file}: not a complete Parquet file: {_AGAIN}") from None


def _scalars(table: pa.RecordBatch, name: str, file: Path) -> np.ndarray:
    """Return a column of single numbers, which may be lists of one number. Null becomes NaN."""
    column = table.column(name)
    kind = column.type
    if (pa.types.is_fixed_size_list(kind) and kind.list_size == 1) or (
        pa.types.is_list(kind) and set(column.value_lengths().unique().to_pylist()) <= {1, None}
    ):
        column = pc.list_element(column, 0)
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise UserError(f"{file}: column {name!r} has the type {kind}, not numbers: {_AGAIN}")
    return column.to_numpy(zero_copy_only=False)


def _check_order(
    table: pa.RecordBatch, expected: np.ndarray, frames: np.ndarray, metadata: Metadata, file: Path
) -> None:
    """Raise UserError if the rows are not the frames `frames` of the episodes with the indices `expected`."""
    episodes, own = metadata.episodes.index[expected], _scalars(table, "episode_index", file)
    found = _scalars(table, "frame_index", file)
    wrong = (own != episodes) | (found != frames)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{file}: has episode {own[row]}, frame {found[row]} where meta/ expects episode "
            f"{episodes[row]}, frame {frames[row]}: {_AGAIN}"
        )
    if TIME in table.schema.names:
        times = _scalars(table, TIME, file)
        away = np.abs(times * metadata.fps - frames)
        if not (away <= NEAR).all():
            row = int(np.argmin(away <= NEAR))
            raise UserError(
                f"{file}: frame {frames[row]} of episode {own[row]} has the time {times[row]:g} s, but at "
                f"{metadata.fps:g} Hz the time is {frames[row] / metadata.fps:g} s: resample the dataset"
            )


def _tasks(table: pa.RecordBatch, known: int, episode: np.ndarray, file: Path) -> np.ndarray:
    """Return the task of each row; -1 stands for null. `episode`: (n,) number of the episode."""
    found = _scalars(table, "task_index", file).astype(np.float64)
    wrong = ~np.isnan(found) & ((found < 0) | (found >= known))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{file}: a frame of episode {episode[row]} has task_index {found[row]:g}, but meta/ has {known} "
            "instructions: add the missing instruction"
        )
    whole = np.where(np.isnan(found), -1, found)
    if (whole % 1).any():
        row = int(np.argmax(whole % 1 != 0))
        raise UserError(
            f"{file}: a frame of episode {episode[row]} has task_index {found[row]:g}, which is no whole "
            f"number: {_AGAIN}"
        )
    return whole.astype(np.int64)
