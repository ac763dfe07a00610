"""Copy the numbers of a dataset's frames from its tables into memory-mapped arrays, and check them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.demonstrations.matching import FeatureChoice
from vlm4vla.data.lerobot.metadata import Metadata

ROWS_PER_BATCH = 1 << 16
NEEDED = ("episode_index", "frame_index", "task_index")
TIME = "timestamp"
_AGAIN = "download the dataset again, or write it again"


@dataclass(frozen=True)
class Column:
    """A feature of the tables, the indices of the numbers to copy, and the array that receives them."""

    name: str
    indices: list[int] | None  # None: all
    array: np.ndarray


def write_rows(
    metadata: Metadata, choice: FeatureChoice, files: list[Path], folder: Path
) -> dict[str, np.ndarray]:
    """Write actions, states, gripper points, tasks and episodes of every frame to `folder`/*.npy.

    Returns the memory-mapped arrays, which are still writable. `actions` (N, 7) holds the dataset's own
    values, `episode` (N,) indices into `metadata.episodes`, and `task_index` (N,) indices into
    `metadata.tasks`, or -1 for null. Raises UserError for a missing column, a column with another number of
    values, NaN, a task that meta/ does not have, frames that do not match the episodes in meta/, and times
    that are not multiples of 1 / fps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    episodes = metadata.episodes
    total = int(episodes.length.sum())
    first = np.cumsum(episodes.length) - episodes.length
    columns = {
        "actions": Column(
            choice.action, choice.action_columns, _array(folder, "actions", (total, ACTION_SIZE))
        )
    }
    for key, name in (("states", choice.state), ("gripper_points", choice.gripper_point)):
        if name is not None:
            width = int(np.prod(metadata.features[name].get("shape") or [1]))
            columns[key] = Column(name, None, _array(folder, key, (total, width)))
    tasks = _array(folder, "task_index", (total,), np.int64)
    episode = _array(folder, "episode", (total,), np.int64)
    progress = Progress(f"frames of {metadata.folder.name}", total)
    done = 0
    for file in files:
        for batch in _batches(file, [*NEEDED, *(column.name for column in columns.values())]):
            rows = slice(done, done + batch.num_rows)
            if rows.stop > total:
                break
            expected = np.searchsorted(first, np.arange(rows.start, rows.stop), side="right") - 1
            _check_order(batch, expected, np.arange(rows.start, rows.stop) - first[expected], metadata, file)
            episode[rows] = expected
            for column in columns.values():
                column.array[rows] = _list_column(batch, column, expected, file)
            tasks[rows] = _tasks(batch, len(metadata.tasks), metadata.episodes.index[expected], file)
            done = rows.stop
            progress.update(done)
        else:
            continue
        done += batch.num_rows
        break
    if done != total:
        found = "more" if done > total else str(done)
        raise UserError(
            f"{metadata.folder}/data: has {found} frames, but the episodes in meta/ have {total}: {_AGAIN}"
        )
    arrays = {key: column.array for key, column in columns.items()}
    return arrays | {"task_index": tasks, "episode": episode}


def _array(folder: Path, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)


def _batches(file: Path, names: list[str]):
    """Yield record batches with the columns `names`, and with the time if the table has it.

    Raises UserError if a column is missing.
    """
    try:
        table = pq.ParquetFile(file)
        present = table.schema_arrow.names
        for name in names:
            if name not in present:
                raise UserError(f"{file}: column {name!r} is missing: write it (found: {', '.join(present)})")
        wanted = list(dict.fromkeys([*names, *([TIME] if TIME in present else [])]))
        yield from table.iter_batches(batch_size=ROWS_PER_BATCH, columns=wanted)
    except (OSError, pa.ArrowInvalid):
        raise UserError(f"{file}: not a complete Parquet file: {_AGAIN}") from None


def _scalars(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Return a column of single numbers, which may be stored as lists of one number."""
    column = batch.column(name)
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False)


def _check_order(
    batch: pa.RecordBatch, expected: np.ndarray, frames: np.ndarray, metadata: Metadata, file: Path
) -> None:
    """Raise UserError if the rows are not the frames `frames` of the episodes with the indices `expected`."""
    episodes, own = metadata.episodes.index[expected], _scalars(batch, "episode_index")
    wrong = (own != episodes) | (_scalars(batch, "frame_index") != frames)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{file}: has episode {own[row]}, frame {_scalars(batch, 'frame_index')[row]} where meta/ "
            f"expects episode {episodes[row]}, frame {frames[row]}: {_AGAIN}"
        )
    if TIME in batch.schema.names:
        away = np.abs(_scalars(batch, TIME) * metadata.fps - frames)
        if not (away <= 0.25).all():
            row = int(np.argmin(away <= 0.25))
            raise UserError(
                f"{file}: frame {frames[row]} of episode {own[row]} has the time "
                f"{_scalars(batch, TIME)[row]:g} s, but at {metadata.fps:g} Hz the time is "
                f"{frames[row] / metadata.fps:g} s: resample the dataset"
            )


def _list_column(batch: pa.RecordBatch, column: Column, episode: np.ndarray, file: Path) -> np.ndarray:
    """Return the chosen numbers of a list column as (n, D) float32. `episode`: (n,) index of the episode."""
    values, width = batch.column(column.name), column.array.shape[1]
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = values.value_lengths().unique().to_pylist()
        found = lengths[0] if len(lengths) == 1 else None
        values = values.flatten()
    elif pa.types.is_fixed_size_list(kind):
        found = None if values.null_count else kind.list_size
        values = values.flatten()
    else:
        found = 1 if pa.types.is_floating(kind) or pa.types.is_integer(kind) else None
    least = width if column.indices is None else max(column.indices) + 1
    if found is None or found < least or (column.indices is None and found > least):
        has = "lists of different lengths, or no numbers" if found is None else f"{found} numbers"
        more = "" if column.indices is None else " or more"
        raise UserError(
            f"{file}: column {column.name!r} has {has} where info.json has {least}{more}: {_AGAIN}"
        )
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, found)
    numbers = numbers if column.indices is None else numbers[:, column.indices]
    bad = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(
            f"{file}: {column.name} of row {row} (episode {episode[row]} of the dataset, counted from 0) "
            f"contains NaN or infinity ({numbers[row].tolist()}): fix or remove the episode"
        )
    return numbers


def _tasks(batch: pa.RecordBatch, known: int, episode: np.ndarray, file: Path) -> np.ndarray:
    """Return the task of each row; -1 stands for null. `episode`: (n,) number of the episode."""
    found = _scalars(batch, "task_index").astype(np.float64)
    wrong = ~np.isnan(found) & ((found < 0) | (found >= known))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{file}: a frame of episode {episode[row]} has task_index {found[row]:g}, but meta/ has {known} "
            "instructions: add the missing instruction"
        )
    return np.where(np.isnan(found), -1, found).astype(np.int64)
