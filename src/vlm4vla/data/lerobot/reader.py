"""Demonstrations in the LeRobot v3.0 format: reading, and the names that writer and reader share.

Layout (https://huggingface.co/docs/lerobot/lerobot-dataset-v3): all frames in data/*/*.parquet, episodes
in meta/episodes/*/*.parquet, instructions in meta/tasks.parquet, statistics in meta/stats.json, and
meta/info.json that says what the columns are. `read` takes what fits into memory, with pictures as PNG bytes
in the tables; data sets of other versions, sizes and with videos are indexed (frame_index.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core.errors import UserError
from vlm4vla.data.parquet import numbers, read_parquet, vectors
from vlm4vla.data.pictures.png import decode

VERSION = "v3.0"
IMAGE = "observation.images.primary"
STATE = "observation.state"
GRIPPER_POINT = "observation.gripper_point"  # column and row in the picture, shares of its width and height
ACTION = "action"
PICTURES_AT_ONCE = 1024
NEEDED = (IMAGE, ACTION, "episode_index", "frame_index", "task_index")


@dataclass(frozen=True)
class Demonstrations:
    """All frames of a data set, in order.

    images (N, H, W, 3) uint8, or None when read without; actions (N, 7) float32 in environment units; states
    (N, S) float32 and gripper_points (N, 2) float32, each None where the data set has no such column;
    episode_index, frame_index, task_index (N,) int64; tasks: the instruction of each task_index; stats: the
    contents of stats.json.
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
        """The instruction of every frame (N strings)."""
        return [self.tasks[index] for index in self.task_index]

    @property
    def shortest_episode(self) -> int:
        """Frames of the shortest episode."""
        return int(np.unique(self.episode_index, return_counts=True)[1].min())


def read(folder: Path, *, images: bool = True) -> Demonstrations:
    """Read and check a data set; with `images=False` the pictures are not decoded (a cheap check).

    Raises UserError when a file or column is missing, the action has another size, or a number is not finite.
    """
    folder = Path(folder)
    info = read_json(folder / "meta" / "info.json")
    if info.get("codebase_version") != VERSION:
        raise UserError(
            f"{folder}/meta/info.json: codebase_version is {info.get('codebase_version')!r}: "
            f"convert the data set to LeRobot {VERSION}"
        )
    stats = read_json(folder / "meta" / "stats.json")
    files = tables(folder)
    if not files:
        raise UserError(f"{folder}/data: no parquet file: write a LeRobot {VERSION} data set there")
    for file in files:
        _check_columns(file)
    table = pa.concat_tables(read_parquet(file, NEEDED[1:]) for file in files)
    if not table.num_rows:
        raise UserError(f"{folder}/data: the data set has no frame: write at least one episode")
    actions = vectors(table[ACTION]).astype(np.float32)
    if not np.isfinite(actions).all():
        row = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
        raise UserError(
            f"{folder}/data: action of episode {table['episode_index'][row]}, frame "
            f"{table['frame_index'][row]} holds NaN or infinity: "
            f"{actions[row].tolist()}: mend or drop that episode"
        )
    index = {name: numbers(table[name]).astype(np.int64) for name in NEEDED[2:]}
    tasks = read_tasks(folder)
    if index["task_index"].min() < 0 or index["task_index"].max() >= len(tasks):
        raise UserError(
            f"{folder}/meta/tasks.parquet: has {len(tasks)} tasks, but a frame has task_index "
            f"{index['task_index'].max()}: add the missing instruction"
        )
    if (np.diff(index["episode_index"]) < 0).any():
        raise UserError(f"{folder}/data: episode_index goes back: write whole episodes one after another")
    states, points = (_numbers(files, name, folder) for name in (STATE, GRIPPER_POINT))
    pictures = _decode(files, table.num_rows, folder) if images else None
    return Demonstrations(
        folder, pictures, actions, **index, tasks=tasks, stats=stats, info=info,
        states=states, gripper_points=points,
    )  # fmt: skip


def tables(folder: Path) -> list[Path]:
    """The parquet files with the frames, in order; names with a dot are what a killed writer left."""
    return sorted(file for file in folder.glob("data/*/*.parquet") if not file.name.startswith("."))


def _numbers(files: list[Path], name: str, folder: Path) -> np.ndarray | None:
    """An optional column of number lists, (N, D) float32; None where a file lacks it."""
    if any(name not in pq.read_schema(file).names for file in files):
        return None
    column = pa.concat_tables(read_parquet(file, [name]) for file in files)[name]
    try:
        values = vectors(column).astype(np.float32)
    except ValueError as error:
        raise UserError(f"{folder}/data: {name} holds {error}: write the data set anew") from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise UserError(
            f"{folder}/data: {name} of row {row} holds NaN or infinity: mend or drop that episode"
        )
    return values


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. UserError when it is missing or holds none."""
    try:
        record = json.loads(path.read_text())
        if not isinstance(record, dict):
            raise ValueError("no mapping")
        return record
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write a LeRobot {VERSION} data set there") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}): write the data set anew") from None


def _check_columns(file: Path) -> None:
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowInvalid):
        raise UserError(f"{file}: not a whole parquet file: write the data set anew") from None
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
        found = "no list" if size is None else f"{size} numbers"
        raise UserError(
            f"{file}: column 'action' has {found}: write {ACTION_SIZE} (x, y, z, roll, pitch, yaw, gripper)"
        )


def read_tasks(folder: Path) -> list[str]:
    """Instructions in the order of their task_index; pandas keeps them as the table's index column."""
    path = folder / "meta" / "tasks.parquet"
    try:
        table = read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write the instructions there") from None
    except (OSError, pa.ArrowInvalid):
        raise UserError(f"{path}: not a whole parquet file: write it anew") from None
    names = [name for name in ("task", "__index_level_0__") if name in table.column_names]
    if not names or "task_index" not in table.column_names:
        raise UserError(
            f"{path}: needs columns 'task' and 'task_index', found {', '.join(table.column_names)}"
        )
    pairs = sorted(zip(table["task_index"].to_pylist(), table[names[0]].to_pylist(), strict=True))
    if [number for number, _ in pairs] != list(range(len(pairs))):
        raise UserError(f"{path}: task_index must count 0, 1, 2, ...: write it anew")
    return [task for _, task in pairs]


def _decode(files: list[Path], count: int, folder: Path) -> np.ndarray:
    """PNG structs {bytes, path} to one (`count`, H, W, 3) uint8 array, filled in place.

    Files are read in pieces, so that the encoded pictures are never all in memory.
    """
    pictures: np.ndarray | None = None
    row = 0
    pieces = (
        piece.column(0)
        for file in files
        for piece in pq.ParquetFile(file).iter_batches(batch_size=PICTURES_AT_ONCE, columns=[IMAGE])
    )
    for piece in pieces:
        for data in piece.field("bytes"):
            try:
                frame = decode(data.as_py())
            except OSError as error:
                raise UserError(
                    f"{folder}/data: image of row {row} cannot be read ({error}): write the data set anew"
                ) from None
            if pictures is None:
                pictures = np.empty((count, *frame.shape), dtype=np.uint8)
            if frame.shape != pictures.shape[1:]:
                raise UserError(
                    f"{folder}/data: image of row {row} is {frame.shape[:2]}, the first is "
                    f"{pictures.shape[1:3]}: write all images in one size"
                )
            pictures[row] = frame
            row += 1
    assert pictures is not None
    return pictures
