"""The metadata that the writer stores in a LeRobot v3.0 dataset: table schema, info.json and tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vlm4vla.conventions.columns.parquet import DATASET_TASKS, FRAMES, described, with_descriptions
from vlm4vla.data.lerobot.reader import IMAGE, VERSION
from vlm4vla.data.pictures.video import CODEC, PIXELS

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000
FRAME_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def path_fields(number: int) -> dict[str, int]:
    """Return the values for the placeholders in `DATA_PATH` and `VIDEO_PATH` for file `number`."""
    chunk, file = divmod(number, FILES_PER_CHUNK)
    return {"chunk_index": chunk, "file_index": file}


def arrow_schema(names: Mapping[str, Sequence[str]], video: bool) -> pa.Schema:
    """Return the schema of the tables, with the metadata that `datasets` needs to decode images and lists.

    `names`: for each list column, the names of its numbers. With `video`, there is no image column.
    """
    arrow: dict[str, pa.DataType] = {}
    features: dict[str, Any] = {}
    if not video:
        arrow[IMAGE] = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        features[IMAGE] = {"_type": "Image"}
    for name, own in names.items():
        arrow[name] = pa.list_(pa.float32(), len(own))
        inner = {"dtype": "float32", "_type": "Value"}
        features[name] = {"feature": inner, "length": len(own), "_type": "List"}
    for name in FRAME_COLUMNS:
        kind = _kind(name)
        arrow[name] = pa.type_for_alias(kind)
        features[name] = {"dtype": kind, "_type": "Value"}
    schema = pa.schema(arrow, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    return with_descriptions(schema, FRAMES)


def tasks_table(tasks: Mapping[str, int]) -> pa.Table:
    """Return the table of instructions and their numbers. The instruction is the index column for pandas."""
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
            for name, kind, dtype in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        ],
    }
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), "task": list(tasks)})
    return described(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), DATASET_TASKS)


def info_record(
    names: Mapping[str, Sequence[str]],
    *,
    video: bool,
    size: int,
    fps: float,
    robot_type: str,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return the contents of info.json.

    `names`: as in `arrow_schema`. `size`: height and width of the images in pixels. `fps`: control rate in
    Hz. `counts`: the numbers of `episodes`, `frames` and `tasks`.
    """
    image: dict[str, Any] = {
        "dtype": "video" if video else "image",
        "shape": [size, size, 3],
        "names": ["height", "width", "channels"],
    }
    if video:
        image["info"] = {
            "video.height": size,
            "video.width": size,
            "video.channels": 3,
            "video.codec": CODEC,
            "video.pix_fmt": PIXELS,
            "video.fps": fps,
            "video.is_depth_map": False,
            "has_audio": False,
        }
    features: dict[str, Any] = {IMAGE: image}
    for name, own in names.items():
        features[name] = {"dtype": "float32", "shape": [len(own)], "names": list(own)}
    for name in FRAME_COLUMNS:
        features[name] = {"dtype": _kind(name), "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": counts["episodes"],
        "total_frames": counts["frames"],
        "total_tasks": counts["tasks"],
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 500,
        "fps": fps,
        "splits": {"train": f"0:{counts['episodes']}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if video else None,
        "features": features,
    }


def _kind(name: str) -> str:
    return "float32" if name == "timestamp" else "int64"
