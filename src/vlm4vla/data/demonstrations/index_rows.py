"""Copy the numbers of a dataset's frames from its tables into memory-mapped arrays, and check them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.demonstrations.matching import FeatureChoice, feature_width
from vlm4vla.data.lerobot.frame_rows import FrameBatch, frame_batches
from vlm4vla.data.lerobot.metadata import Metadata

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
    columns = {
        "actions": Column(
            choice.action, choice.action_columns, _array(folder, "actions", (total, ACTION_SIZE))
        )
    }
    for key, name in (("states", choice.state), ("gripper_points", choice.gripper_point)):
        if name is not None:
            width = feature_width(metadata.features[name])
            columns[key] = Column(name, None, _array(folder, key, (total, width)))
    tasks = _array(folder, "task_index", (total,), np.int64)
    episode = _array(folder, "episode", (total,), np.int64)
    progress = Progress(f"frames of {metadata.folder.name}", total)
    for found in frame_batches(metadata, files, [column.name for column in columns.values()]):
        rows = slice(found.begin, found.begin + len(found.episode))
        episode[rows], tasks[rows] = found.episode, found.task_index
        for column in columns.values():
            column.array[rows] = _list_column(found, column, metadata)
        progress.update(rows.stop)
    arrays = {key: column.array for key, column in columns.items()}
    return arrays | {"task_index": tasks, "episode": episode}


def _array(folder: Path, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return new_array(folder / f"{name}.npy", dtype, shape)


def new_array(path: Path, dtype: np.dtype | type, shape: tuple[int, ...]) -> np.ndarray:
    """A new memory-mapped array. Raises OSError, with the name of `path`, if the disk has no room for it.

    The file gets its blocks now: without them, a write to the memory of a full disk would kill the process.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    return array


def _list_column(batch: FrameBatch, column: Column, metadata: Metadata) -> np.ndarray:
    """Return the chosen numbers of a list column as (n, D) float32."""
    values, stated = batch.table.column(column.name), feature_width(metadata.features[column.name])
    kind, found = values.type, None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = values.value_lengths().unique().to_pylist()
        found = lengths[0] if len(lengths) == 1 else None
        values = values.flatten()
    elif pa.types.is_fixed_size_list(kind):
        found = None if values.null_count else kind.list_size
        values = values.flatten()
    else:
        found = 1
    if not _is_number(values.type):
        raise UserError(f"{batch.file}: column {column.name!r} has the type {kind}, not numbers: {_AGAIN}")
    if found != stated:
        has = "lists of different lengths, or null," if found is None else f"{found} numbers"
        raise UserError(
            f"{batch.file}: column {column.name!r} has {has} where info.json has {stated}: {_AGAIN}"
        )
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, found)
    numbers = numbers if column.indices is None else numbers[:, column.indices]
    bad = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(
            f"{batch.file}: {column.name} of row {batch.row + row} (episode "
            f"{metadata.episodes.index[batch.episode[row]]}) contains NaN or infinity "
            f"({numbers[row].tolist()}): fix or remove the episode"
        )
    return numbers


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
