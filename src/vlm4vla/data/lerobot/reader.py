"""Read LeRobot v3.0 datasets into memory, and define the column names that the reader and the writer share.

Layout (https://huggingface.co/docs/lerobot/lerobot-dataset-v3): data/*/*.parquet holds the frames,
meta/episodes/*/*.parquet the episodes, meta/tasks.parquet the instructions, meta/stats.json the statistics,
and meta/info.json describes the columns. `read_demonstrations` reads datasets that fit into memory and keep
their images as PNG bytes in the tables. Datasets of other versions, larger datasets and datasets with videos
are indexed instead (data/demonstrations/frame_index.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.data.instructions import LeftOut, drop_blank_tasks, instruction_text
from vlm4vla.data.lerobot.totals import check_present, check_totals
from vlm4vla.data.parquet import PARQUET_FAULTS, numbers, read_parquet, vectors
from vlm4vla.data.pictures.png import decode
from vlm4vla.data.statistics import array_statistics

VERSION = "v3.0"
IMAGE = "observation.images.primary"
STATE = "observation.state"
GRIPPER_POINT = "observation.gripper_point"  # image column and row, as fractions of width and height
ACTION = "action"
IMAGES_PER_BATCH = 1024
NEEDED = (IMAGE, ACTION, "episode_index", "frame_index", "task_index")


@dataclass(frozen=True)
class DemonstrationSet:
    """All N frames of a dataset, in order.

    `images`: (N, H, W, 3) uint8, or None if they were not read. `actions`: (N, 7) float32 in environment
    units. `states` (N, S) float32 and `gripper_points` (N, 2) float32: None if the dataset has no such
    column. `episode_index`, `frame_index`, `task_index`: (N,) int64. `tasks`: the instruction of each
    task_index. `stats` and `info`: the contents of stats.json and info.json.
    """

    folder: Path
    images: np.ndarray | None
    actions: np.ndarray
    episode_index: np.ndarray
    frame_index: np.ndarray
    task_index: np.ndarray
    tasks: list[str]
    stats: dict[str, Any]
    info: dict[str, Any]
    states: np.ndarray | None = None
    gripper_points: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def instructions(self) -> list[str]:
        """Return the instruction of every frame (N strings)."""
        return [self.tasks[index] for index in self.task_index]

    @property
    def shortest_episode(self) -> int:
        """Return the number of frames of the shortest episode."""
        return int(np.unique(self.episode_index, return_counts=True)[1].min())


def read_demonstrations(folder: Path, *, images: bool = True) -> DemonstrationSet:
    """Read and check a dataset. With `images=False`, images are not decoded, which makes this a cheap check.

    Episodes without an instruction are left out, also from the statistics of actions and states. Raises
    UserError if a file or a column is missing, if the action does not have 7 numbers, if a number is not
    finite, or if the dataset has other totals than info.json.
    """
    folder = Path(folder)
    info = read_json(folder / "meta" / "info.json")
    if info.get("codebase_version") != VERSION:
        raise UserError(
            f"{folder}/meta/info.json: codebase_version is {info.get('codebase_version')!r}: "
            f"convert the dataset to LeRobot {VERSION}"
        )
    stats = read_json(folder / "meta" / "stats.json")
    files = table_files(folder)
    check_present(folder, files)
    if not files:
        raise UserError(f"{folder}/data: no Parquet file: write a LeRobot {VERSION} dataset there")
    for file in files:
        _check_columns(file)
    table = _table(files, NEEDED[1:])
    if not table.num_rows:
        raise UserError(f"{folder}/data: the dataset has no frames: write at least one episode")
    actions = _numbers(table, ACTION, folder).astype(np.float32)
    if not np.isfinite(actions).all():
        row = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
        raise UserError(
            f"{folder}/data: the action of episode {table['episode_index'][row]}, frame "
            f"{table['frame_index'][row]} contains NaN or infinity ({actions[row].tolist()}): fix or remove "
            "the episode"
        )
    index = {name: _numbers(table, name, folder).astype(np.int64) for name in NEEDED[2:4]}
    task_index = _numbers(table, "task_index", folder, null=np.nan)
    no_task = np.isnan(task_index)
    task_index = np.where(no_task, -1, task_index)
    if (task_index % 1).any():
        raise UserError(f"{folder}/data: task_index is not a whole number in all frames: write it again")
    index["task_index"] = task_index.astype(np.int64)
    tasks = read_tasks(folder)
    episodes = np.unique(index["episode_index"])
    check_totals(folder, info, episodes, table.num_rows, len(tasks))
    if index["task_index"][~no_task].min(initial=0) < 0 or index["task_index"].max() >= len(tasks):
        raise UserError(
            f"{folder}/meta/tasks.parquet: has {len(tasks)} tasks, but a frame has task_index "
            f"{index['task_index'].max()}: add the missing instruction"
        )
    if (np.diff(index["episode_index"]) < 0).any():
        raise UserError(f"{folder}/data: episode_index decreases: write the episodes one after another")
    starts = np.flatnonzero(np.diff(index["episode_index"], prepend=-1))
    lengths = np.diff(np.append(starts, table.num_rows))
    expected = np.arange(table.num_rows) - np.repeat(starts, lengths)
    if (index["frame_index"] != expected).any():
        row = int(np.argmax(index["frame_index"] != expected))
        raise UserError(
            f"{folder}/data: episode {index['episode_index'][row]} has frame {index['frame_index'][row]} "
            f"where frame {expected[row]} belongs: write the frames in their order"
        )
    states, points = (_optional_column(files, name, folder) for name in (STATE, GRIPPER_POINT))
    pictures = _decode_images(files, table.num_rows, folder) if images else None
    blank = np.array([text is None for text in tasks] + [True])[index["task_index"]]  # the last is for null
    without = np.unique(index["episode_index"][blank])
    keep = ~np.isin(index["episode_index"], without)
    if not keep.any():
        raise UserError(f"{folder}: no episode has an instruction: write the texts into meta/tasks.parquet")
    index = {name: values[keep] for name, values in index.items()}
    texts, index["task_index"] = drop_blank_tasks(tasks, index["task_index"])
    pictures, states, points = (
        values if values is None or keep.all() else values[keep] for values in (pictures, states, points)
    )
    frames = DemonstrationSet(
        folder, pictures, actions[keep], **index, tasks=texts, stats=stats, info=info,
        states=states, gripper_points=points,
    )  # fmt: skip
    if keep.all():
        return frames
    print(f"{folder}: {LeftOut(len(without), int((~keep).sum())).sentence()}", file=sys.stderr)
    return replace(frames, stats=stats | _own_statistics(frames))


def _own_statistics(kept: DemonstrationSet) -> dict[str, Any]:
    """Return the statistics of the columns of numbers, when stats.json also counts frames left out."""
    columns = {ACTION: kept.actions, STATE: kept.states, GRIPPER_POINT: kept.gripper_points}
    return {name: array_statistics(values) for name, values in columns.items() if values is not None}


def table_files(folder: Path) -> list[Path]:
    """Return the Parquet files with the frames, in order, without the temporary files of a killed writer."""
    return sorted(file for file in folder.glob("data/*/*.parquet") if not file.name.startswith("."))


def _table(files: list[Path], columns: Sequence[str]) -> pa.Table:
    """Return the columns of several tables. Raises UserError for a damaged table, and for other types."""
    tables = []
    for file in files:
        try:
            tables.append(read_parquet(file, columns))
        except PARQUET_FAULTS:
            raise UserError(f"{file}: not a complete Parquet file: write the dataset again") from None
        if tables[-1].schema.types != tables[0].schema.types:
            raise UserError(
                f"{file}: its columns have other types than those of {files[0].name}: write the dataset again"
            )
    return pa.concat_tables(tables)


def _numbers(table: pa.Table, name: str, folder: Path, null: float | None = None) -> np.ndarray:
    """Return a column of numbers, or of lists of numbers. With `null`, it is float64 and replaces null."""
    column = table[name]
    try:
        if null is not None:
            column = column.cast(pa.float64()).fill_null(null)
        return vectors(column) if name == ACTION else numbers(column)
    except (ValueError, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{folder}/data: column {name!r} has {error}: write the dataset again") from None


def _optional_column(files: list[Path], name: str, folder: Path) -> np.ndarray | None:
    """Return a column of number lists as (N, D) float32, or None if a file does not have the column."""
    if any(name not in pq.read_schema(file).names for file in files):
        return None
    column = _table(files, [name])[name]
    try:
        values = vectors(column).astype(np.float32)
    except ValueError as error:
        raise UserError(f"{folder}/data: column {name!r} has {error}: write the dataset again") from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise UserError(
            f"{folder}/data: {name} of row {row} contains NaN or infinity: fix or remove its episode"
        )
    return values


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises UserError if the file is missing or holds anything else."""
    try:
        record = parse_json(path.read_text())
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
        return record
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write a LeRobot {VERSION} dataset there") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}): write the dataset again") from None


def _check_columns(file: Path) -> None:
    try:
        schema = pq.read_schema(file)
    except PARQUET_FAULTS:
        raise UserError(f"{file}: not a complete Parquet file: write the dataset again") from None
    for name in NEEDED:
        if name not in schema.names:
            raise UserError(
                f"{file}: column {name!r} is missing: write it (found: {', '.join(schema.names)})"
            )
    kind = schema.field(ACTION).type
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
    if size is None and pa.types.is_list(kind):
        lengths = read_parquet(file, [ACTION])[ACTION].combine_chunks().value_lengths().unique()
        size = lengths[0].as_py() if len(lengths) == 1 else lengths.to_pylist()
    if size != ACTION_SIZE:
        found = "no lists" if size is None else f"{size} numbers"
        raise UserError(
            f"{file}: column 'action' has {found}: write {ACTION_SIZE} (x, y, z, roll, pitch, yaw, gripper)"
        )


def read_tasks(folder: Path) -> list[str | None]:
    """Return the instructions in the order of task_index. pandas stores them as the table's index column.

    A task without an instruction (data/instructions.py) is None.
    """
    path = folder / "meta" / "tasks.parquet"
    try:
        table = read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write the instructions there") from None
    except PARQUET_FAULTS:
        raise UserError(f"{path}: not a complete Parquet file: write it again") from None
    texts = ("task", "__index_level_0__", *_index_columns(path, table))
    names = [name for name in texts if name in table.column_names and name != "task_index"]
    if not names or "task_index" not in table.column_names:
        raise UserError(
            f"{path}: needs the columns 'task' and 'task_index': write them (found: "
            f"{', '.join(table.column_names)})"
        )
    try:
        by_number = dict(zip(numbers(table["task_index"]).tolist(), table[names[0]].to_pylist(), strict=True))
    except (ValueError, OverflowError) as error:  # a text that is not UTF-8, or a date that Python has not
        raise UserError(f"{path}: has {one_line(str(error))}: write it again") from None
    if set(by_number) != set(range(table.num_rows)):
        raise UserError(f"{path}: task_index must be 0, 1, 2, ...: write the file again")
    try:
        found = [instruction_text(by_number[number]) for number in range(len(by_number))]
    except ValueError as error:
        raise UserError(f"{path}: {error}: write one text for each task_index") from None
    if found and not any(found):
        raise UserError(f"{folder}: no episode has an instruction: write the texts into meta/{path.name}")
    return found


def _index_columns(path: Path, table: pa.Table) -> list[str]:
    """Return the columns that are the index of a table of pandas, by its metadata."""
    try:
        found = table.schema.pandas_metadata or {}
    except (ValueError, RecursionError):
        raise UserError(f"{path}: its metadata of pandas is not JSON: write it again") from None
    listed = found.get("index_columns") if isinstance(found, dict) else None
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _image_batches(files: list[Path]) -> Iterator[tuple[Path, pa.Array]]:
    for file in files:
        try:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=IMAGES_PER_BATCH, columns=[IMAGE]):
                yield file, batch.column(0)
        except PARQUET_FAULTS:
            raise UserError(f"{file}: not a complete Parquet file: write the dataset again") from None


def _decode_images(files: list[Path], count: int, folder: Path) -> np.ndarray:
    """Decode PNG structs {bytes, path} into one (`count`, H, W, 3) uint8 array.

    Files are read in batches, so that the encoded images are never all in memory.
    """
    pictures: np.ndarray | None = None
    row = first = 0  # of the dataset, and the first of the current file
    current = None
    for file, batch in _image_batches(files):
        if file != current:
            current, first = file, row
        if not pa.types.is_struct(batch.type) or batch.type.get_field_index("bytes") < 0:
            raise UserError(f"{file}: column {IMAGE!r} has the type {batch.type}: write structs with `bytes`")
        for data in batch.field("bytes"):
            try:
                frame = decode(data.as_py() or b"")
            except OSError as error:
                raise UserError(
                    f"{file}: image of row {row - first} cannot be read: {error}, or write the dataset again"
                ) from None
            if pictures is None:
                pictures = np.empty((count, *frame.shape), dtype=np.uint8)
            if frame.shape != pictures.shape[1:]:
                raise UserError(
                    f"{folder}/data: image of row {row} is {frame.shape[:2]} pixels, the first is "
                    f"{pictures.shape[1:3]}: write all images in one size"
                )
            pictures[row] = frame
            row += 1
    assert pictures is not None
    return pictures
