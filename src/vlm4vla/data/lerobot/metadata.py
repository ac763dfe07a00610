"""What a LeRobot data set says of itself: versions v2.0, v2.1 and v3.0, without reading its frames.

v3.0 (https://huggingface.co/docs/lerobot/lerobot-dataset-v3) keeps episodes in meta/episodes/*/*.parquet and
several of them in one video; v2.x keeps meta/episodes.jsonl, and one table and one video an episode.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_json, read_tasks, tables
from vlm4vla.data.parquet import numbers, read_parquet

NEWEST = "v3.0"
VERSIONS = ("v2.0", "v2.1", NEWEST)
PICTURES = ("video", "image")  # dtypes of features that are pictures
SHARES = ("min", "max", "mean", "std", "count")


@dataclass(frozen=True)
class Episodes:
    """One row an episode, in order: `index`, `length` (frames), (E,) int64."""

    index: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Videos:
    """Where a camera's pictures of each episode are. `names`: files below the data set's folder.

    `file` (E,) int64: place in `names`; `start`, `end` (E,) float64: seconds from the file's beginning.
    """

    names: list[str]
    file: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Metadata:
    """`features`: as info.json describes them. `tasks`: the instruction of each task_index."""

    folder: Path
    version: str
    fps: float
    features: dict[str, dict[str, Any]]
    tasks: list[str]
    episodes: Episodes
    info: dict[str, Any]

    def cameras(self) -> list[str]:
        """Features that are pictures, without depth maps."""
        return [
            name
            for name, feature in self.features.items()
            if feature.get("dtype") in PICTURES and not _described(feature).get("video.is_depth_map")
        ]

    def is_video(self, camera: str) -> bool:
        return self.features[camera]["dtype"] == "video"

    def tables(self) -> list[Path]:
        """Files with the frames, in order. UserError when one is missing."""
        if self.version == NEWEST:
            files = tables(self.folder)
        else:
            pattern = self.info["data_path"]
            files = [self.folder / pattern.format(**_places(self.info, i)) for i in self.episodes.index]
        missing = [file for file in files if not file.is_file()]
        if missing or not files:
            raise UserError(f"{missing[0] if missing else self.folder / 'data'}: not found: {_AGAIN}")
        return files

    def videos(self, camera: str) -> Videos:
        """UserError when a file is missing, or an episode's part of a video is shorter than the episode."""
        found = self._shared_videos(camera) if self.version == NEWEST else self._own_videos(camera)
        for name in found.names:
            if not (self.folder / name).is_file():
                raise UserError(f"{self.folder / name}: not found: {_AGAIN}")
        short = found.end - found.start < (self.episodes.length - 1.5) / self.fps
        if short.any():
            row = int(np.flatnonzero(short)[0])
            raise UserError(
                f"{self.folder / found.names[found.file[row]]}: episode {self.episodes.index[row]} has "
                f"{self.episodes.length[row]} frames, its part of the video {found.start[row]:g} to "
                f"{found.end[row]:g} s holds fewer at {self.fps:g} Hz: {_AGAIN}"
            )
        return found

    def _shared_videos(self, camera: str) -> Videos:
        keys = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
        columns = {key: f"videos/{camera}/{key}" for key in keys}
        table = _episode_tables(self.folder, list(columns.values()))
        chunk, file, start, end = (numbers(table[name]) for name in columns.values())
        pairs, places = np.unique(np.stack([chunk, file], axis=1), axis=0, return_inverse=True)
        pattern = self.info["video_path"]
        names = [
            pattern.format(video_key=camera, chunk_index=int(one), file_index=int(two)) for one, two in pairs
        ]
        return Videos(names, places.reshape(-1).astype(np.int64), start.astype(float), end.astype(float))

    def _own_videos(self, camera: str) -> Videos:
        pattern, episodes = self.info["video_path"], self.episodes
        names = [pattern.format(video_key=camera, **_places(self.info, i)) for i in episodes.index]
        count = len(names)
        return Videos(names, np.arange(count), np.zeros(count), episodes.length / self.fps)

    def stats(self) -> dict[str, dict[str, Any]] | None:
        """Statistics in meta/, merged over episodes where they are kept for each; None where there are none.

        What is merged has `SHARES` only: the quantiles of a whole do not follow from those of its parts.
        """
        whole, parts = self.folder / "meta" / "stats.json", self.folder / "meta" / "episodes_stats.jsonl"
        if self.version == "v2.1" and parts.is_file():
            return merge_stats(line.get("stats", {}) for line in _lines(parts))
        return read_json(whole) if whole.is_file() else None


_AGAIN = "download or write the data set again"


def read_metadata(folder: Path) -> Metadata:
    """Read and check meta/. Raises UserError when a part is missing, broken or contradicts another."""
    folder = Path(folder)
    path = folder / "meta" / "info.json"
    if not path.is_file():
        versions = ", ".join(VERSIONS)
        raise UserError(f"{path}: not found: write the folder of a LeRobot data set ({versions})")
    info = read_json(path)
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise UserError(
            f"{path}: codebase_version is {version!r}: convert the data set to LeRobot {NEWEST} "
            f"(read: {', '.join(VERSIONS)})"
        )
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not isinstance(fps, (int, float)) or not fps > 0:
        raise UserError(f"{path}: needs `features` and a rate `fps` above 0: {_AGAIN}")
    if not isinstance(info.get("data_path"), str):
        raise UserError(f"{path}: needs `data_path`: {_AGAIN}")
    if version == NEWEST:
        table = _episode_tables(folder, ["episode_index", "length"])
        index, length = (numbers(table[name]).astype(np.int64) for name in table.column_names)
        tasks = read_tasks(folder)
    else:
        rows = list(_lines(folder / "meta" / "episodes.jsonl"))
        try:
            pairs = [(int(row["episode_index"]), int(row["length"])) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder}/meta/episodes.jsonl: a line lacks {error}: {_AGAIN}") from None
        index, length = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        tasks = _old_tasks(folder)
    if not len(index) or (length < 1).any() or (np.diff(index) <= 0).any():
        raise UserError(
            f"{folder}/meta: episodes must have frames and come in the order of episode_index: {_AGAIN}"
        )
    return Metadata(folder, version, float(fps), features, tasks, Episodes(index, length), info)


def merge_stats(parts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Statistics of a whole from those of its parts, feature by feature, as lists.

    `std` is that of all values: parts' own variances, and how far their means lie apart.
    """
    sums: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, record in part.items():
            if not all(key in record for key in SHARES):
                continue
            least, most, mean, std = (np.asarray(record[key], dtype=float) for key in SHARES[:4])
            count = float(np.ravel(record["count"])[0])
            own = {"min": least, "max": most, "count": count, "sum": count * mean}
            own["squares"] = count * (std**2 + mean**2)
            before = sums.get(name)
            if before is None:
                sums[name] = own
            else:
                before["min"] = np.minimum(before["min"], least)
                before["max"] = np.maximum(before["max"], most)
                for key in ("count", "sum", "squares"):
                    before[key] = before[key] + own[key]
    merged = {}
    for name, own in sums.items():
        mean = own["sum"] / own["count"]
        std = np.sqrt(np.maximum(own["squares"] / own["count"] - mean**2, 0))
        values = {"min": own["min"], "max": own["max"], "mean": mean, "std": std}
        merged[name] = {key: value.tolist() for key, value in values.items()} | {"count": [int(own["count"])]}
    return merged


def _described(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    """The video's own description, under either of the names that versions use."""
    return feature.get("info") or feature.get("video_info") or {}


def _places(info: Mapping[str, Any], episode: int) -> dict[str, int]:
    """What v2.x puts into a path."""
    return {
        "episode_chunk": int(episode) // int(info.get("chunks_size", 1000)),
        "episode_index": int(episode),
    }


def _episode_tables(folder: Path, columns: list[str]) -> pa.Table:
    """Columns of meta/episodes in the order of episode_index, v3.0."""
    files = sorted((folder / "meta" / "episodes").glob("*/[!.]*.parquet"))
    if not files:
        raise UserError(f"{folder}/meta/episodes: no parquet file: {_AGAIN}")
    parts = []
    for file in files:
        try:
            parts.append(read_parquet(file, list(dict.fromkeys(["episode_index", *columns]))))
        except (OSError, pa.ArrowInvalid):
            raise UserError(f"{file}: not a whole parquet file: {_AGAIN}") from None
        for name in columns:
            if name not in parts[-1].column_names:
                raise UserError(f"{file}: column {name!r} is missing: {_AGAIN}")
    table = pa.concat_tables(parts, promote_options="permissive")
    return table.take(np.argsort(numbers(table["episode_index"]), kind="stable")).select(columns)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a .jsonl file."""
    try:
        with path.open() as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError(f"line {number} is no mapping")
                    yield record
    except FileNotFoundError:
        raise UserError(f"{path}: not found: {_AGAIN}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}): {_AGAIN}") from None


def _old_tasks(folder: Path) -> list[str]:
    path = folder / "meta" / "tasks.jsonl"
    try:
        pairs = sorted((int(row["task_index"]), str(row["task"])) for row in _lines(path))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a line lacks {error}: {_AGAIN}") from None
    if [number for number, _ in pairs] != list(range(len(pairs))):
        raise UserError(f"{path}: task_index must count 0, 1, 2, ...: {_AGAIN}")
    return [task for _, task in pairs]
