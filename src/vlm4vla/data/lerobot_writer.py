"""Writing demonstrations as a LeRobot v3.0 data set, episode by episode.

The same episodes give the same bytes. Frames stream to a temporary file; the metadata is written when the
writer is closed, and meta/info.json last, so that an unfinished folder is never read as a data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.actions.conventions import ACTION_NAMES
from vlm4vla.artefacts import atomic_path, write_json
from vlm4vla.data.lerobot import ACTION, IMAGE, STATE, VERSION
from vlm4vla.data.png import encode

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper_opening", "holding")
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PER_GROUP = 32  # episodes a row group: bounds the writer's memory


class LeRobotWriter:
    """Collects episodes into one data set in `folder`.

    `fps`: control rate in Hz. `image_size`: height and width in pixels. `more`: further columns of number
    lists, with the names of their numbers. Use as a context manager, or call `close`; leaving the context by
    an exception writes nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fps: float,
        robot_type: str,
        image_size: int,
        state_names: Sequence[str] = STATE_NAMES,
        action_names: Sequence[str] = ACTION_NAMES,
        more: Mapping[str, Sequence[str]] | None = None,
    ):
        self.folder = Path(folder)
        self.fps = fps
        self.robot_type = robot_type
        self.image_size = image_size
        self._names = {STATE: list(state_names), ACTION: list(action_names)}
        self._names |= {name: list(names) for name, names in (more or {}).items()}
        self._schema = self._arrow_schema()
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._numbers: dict[str, list[np.ndarray]] = {
            name: [] for name in (*self._names, "timestamp", "frame_index", "episode_index", "task_index")
        }
        self._levels = np.zeros((3, 256), dtype=np.int64)  # histogram of pixel values, per channel
        self._waiting: list[pa.Table] = []
        self._frames = 0
        path = self.folder / DATA_PATH.format(chunk_index=0, file_index=0)
        self._atomic = atomic_path(path)
        self._file = pq.ParquetWriter(self._atomic.__enter__(), self._schema, compression="zstd")

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._atomic.__exit__(kind, value, traceback)

    def add_episode(
        self,
        images: np.ndarray,
        states: np.ndarray,
        actions: np.ndarray,
        instruction: str,
        more: Mapping[str, np.ndarray] | None = None,
    ) -> int:
        """Append one episode and return its index.

        images (T, H, W, 3) uint8, states (T, S), actions (T, 7) in environment units: row t is what the robot
        saw, and the action that it then took; `more`: the further columns, (T, D) each. Raises ValueError on
        other shapes, types or NaN.
        """
        length = len(actions)
        size = self.image_size
        if images.shape != (length, size, size, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"images must be ({length}, {size}, {size}, 3) uint8, got {images.shape} {images.dtype}"
            )
        lists = {STATE: states, ACTION: actions, **(more or {})}
        lists = {name: np.asarray(values, dtype=np.float32) for name, values in lists.items()}
        shapes = {name: values.shape for name, values in lists.items()}
        if not length or shapes != {name: (length, len(names)) for name, names in self._names.items()}:
            raise ValueError(f"episode {len(self._episodes)} of {length} frames has {shapes}")
        for name, values in lists.items():
            if not np.isfinite(values).all():
                raise ValueError(f"episode {len(self._episodes)} has NaN or infinity in {name}")
        episode = len(self._episodes)
        task = self._tasks.setdefault(instruction, len(self._tasks))
        frame = np.arange(length, dtype=np.int64)
        numbers = {
            **lists,
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(length, episode, dtype=np.int64),
            "task_index": np.full(length, task, dtype=np.int64),
        }
        for name, values in numbers.items():
            self._numbers[name].append(values)
        for channel in range(3):
            self._levels[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
        self._waiting.append(self._table(images, numbers))
        self._episodes.append(
            {"episode_index": episode, "tasks": [instruction], "length": length}
            | {"data/chunk_index": 0, "data/file_index": 0}
            | {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
            | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            | _flat({name: _summary(values) for name, values in lists.items()})
        )
        self._frames += length
        if len(self._waiting) == EPISODES_PER_GROUP:
            self._flush()
        return episode

    def close(self) -> None:
        """Write statistics and metadata; then the folder is a data set. ValueError without an episode."""
        if not self._episodes:
            self._file.close()
            self._atomic.__exit__(ValueError, ValueError(), None)
            raise ValueError("a data set needs at least one episode")
        self._flush()
        self._file.close()
        self._atomic.__exit__(None, None, None)
        meta = self.folder / "meta"
        _write_table(
            meta / "episodes" / "chunk-000" / "file-000.parquet", pa.Table.from_pylist(self._episodes)
        )
        _write_table(meta / "tasks.parquet", self._tasks_table())
        write_json(meta / "stats.json", self._stats())
        write_json(meta / "info.json", self._info())

    # Frames ------------------------------------------------------------------------------------------

    def _arrow_schema(self) -> pa.Schema:
        """Columns, with the description by which `datasets` decodes images and lists."""
        arrow: dict[str, pa.DataType] = {IMAGE: pa.struct({"bytes": pa.binary(), "path": pa.string()})}
        described: dict[str, Any] = {IMAGE: {"_type": "Image"}}
        for name, names in self._names.items():
            arrow[name] = pa.list_(pa.float32(), len(names))
            inner = {"dtype": "float32", "_type": "Value"}
            described[name] = {"feature": inner, "length": len(names), "_type": "List"}
        for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
            kind = "float32" if name == "timestamp" else "int64"
            arrow[name] = pa.type_for_alias(kind)
            described[name] = {"dtype": kind, "_type": "Value"}
        return pa.schema(arrow, metadata={"huggingface": json.dumps({"info": {"features": described}})})

    def _table(self, images: np.ndarray, numbers: dict[str, np.ndarray]) -> pa.Table:
        length = len(images)
        columns: dict[str, Any] = {
            IMAGE: pa.array(
                [{"bytes": encode(image), "path": None} for image in images], self._schema.field(IMAGE).type
            ),
            "index": pa.array(self._frames + np.arange(length)),
        }
        for name, values in numbers.items():
            if values.ndim == 2:
                columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            else:
                columns[name] = pa.array(values)
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._file.write_table(table, row_group_size=table.num_rows)
            self._waiting = []

    # Metadata ----------------------------------------------------------------------------------------

    def _tasks_table(self) -> pa.Table:
        """Instruction to number, the instruction being the index column as pandas marks it."""
        pandas = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
                for name, kind, dtype in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
            ],
        }
        table = pa.table(
            {"task_index": pa.array(self._tasks.values(), pa.int64()), "task": list(self._tasks)}
        )
        return table.replace_schema_metadata({"pandas": json.dumps(pandas)})

    def _stats(self) -> dict[str, Any]:
        values = {name: np.concatenate(parts) for name, parts in self._numbers.items()}
        values["index"] = np.arange(self._frames)
        return {IMAGE: _image_summary(self._levels, self._frames)} | {
            name: _summary(part) for name, part in values.items()
        }

    def _info(self) -> dict[str, Any]:
        size = self.image_size
        features: dict[str, Any] = {
            IMAGE: {"dtype": "image", "shape": [size, size, 3], "names": ["height", "width", "channels"]}
        }
        for name, names in self._names.items():
            features[name] = {"dtype": "float32", "shape": [len(names)], "names": names}
        for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
            features[name] = {
                "dtype": "float32" if name == "timestamp" else "int64",
                "shape": [1],
                "names": None,
            }
        return {
            "codebase_version": VERSION,
            "robot_type": self.robot_type,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 500,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": DATA_PATH,
            "video_path": None,
            "features": features,
        }


def _summary(values: np.ndarray) -> dict[str, list[Any]]:
    """Statistics over the first axis of (N,) or (N, D), as LeRobot's stats.json names them."""
    values = values.reshape(len(values), -1).astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    record = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    record |= dict(zip(QUANTILES, quantiles, strict=True))
    return {key: part.tolist() for key, part in record.items()} | {"count": [len(values)]}


def _image_summary(levels: np.ndarray, frames: int) -> dict[str, list[Any]]:
    """Statistics of pixels in [0, 1] per channel, shaped (3, 1, 1), from histograms (3, 256)."""
    scale = np.arange(256) / 255
    weights = levels / levels.sum(1, keepdims=True)
    mean = weights @ scale
    cumulative = weights.cumsum(1)
    record = {
        "min": [scale[row > 0][0] for row in levels],
        "max": [scale[row > 0][-1] for row in levels],
        "mean": mean,
        "std": np.sqrt(np.maximum(weights @ scale**2 - mean**2, 0)),
    }
    for name, share in QUANTILES.items():
        record[name] = [scale[min(int(np.searchsorted(row, share)), 255)] for row in cumulative]
    return {key: np.reshape(part, (3, 1, 1)).tolist() for key, part in record.items()} | {"count": [frames]}


def _flat(stats: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"stats/{name}/{key}": value for name, record in stats.items() for key, value in record.items()}


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)
