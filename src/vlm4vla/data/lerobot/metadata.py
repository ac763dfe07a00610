"""Read the metadata of LeRobot datasets of the versions v2.0, v2.1 and v3.0, without reading frames.

v3.0 (https://huggingface.co/docs/lerobot/lerobot-dataset-v3) lists episodes in meta/episodes/*/*.parquet and
stores several episodes in one table and one video. v2.x lists episodes in meta/episodes.jsonl and stores one
table and one video per episode.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vlm4vla.core.errors import UserError, one_line
from vlm4vla.data.instructions import instruction_text
from vlm4vla.data.lerobot.info_checks import check_features, check_statistics, filled_in
from vlm4vla.data.lerobot.reader import read_json, read_tasks, table_files
from vlm4vla.data.lerobot.totals import check_present, check_rows, check_totals
from vlm4vla.data.parquet import PARQUET_FAULTS, numbers, read_parquet
from vlm4vla.data.statistics import merge_statistics

NEWEST = "v3.0"
VERSIONS = ("v2.0", "v2.1", NEWEST)
IMAGE_DTYPES = ("video", "image")  # dtypes of features that are images
LONGEST_LINE = 100  # characters of a record that a message shows
LARGEST = 2**53  # of a count, a file or an episode: floats have all whole numbers up to this one
TIMES = ("from_timestamp", "to_timestamp")  # ends of the names of columns that need not be whole


@dataclass(frozen=True)
class Episodes:
    """One row per episode, in order: its number `index` and its `length` in frames, both (E,) int64."""

    index: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Videos:
    """The video file and the time span of each episode, for one camera.

    `names`: paths of the files, relative to the dataset's folder. `file` (E,) int64: index into `names`.
    `start` and `end` (E,) float64: seconds from the beginning of the file.
    """

    names: list[str]
    file: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Metadata:
    """The metadata of a dataset.

    `features`: their descriptions in info.json. `tasks`: the instruction of each task_index; None if the
    task has none (data/instructions.py). `info`: the contents of info.json.
    """

    folder: Path
    version: str
    fps: float
    features: dict[str, dict[str, Any]]
    tasks: list[str | None]
    episodes: Episodes
    info: dict[str, Any]

    def cameras(self) -> list[str]:
        """Return the names of the features that are images, without depth maps."""
        return [
            name
            for name, feature in self.features.items()
            if feature.get("dtype") in IMAGE_DTYPES and not _video_info(feature).get("video.is_depth_map")
        ]

    def is_video(self, camera: str) -> bool:
        return self.features[camera]["dtype"] == "video"

    def tables(self) -> list[Path]:
        """Return the files with the frames, in order. Raises UserError if one is missing."""
        if self.version == NEWEST:
            files, listed = table_files(self.folder), self._listed_tables()
            check_present(self.folder, sorted({*files, *(listed or {})}))
        else:
            files = [self.folder / self._path("data_path", **fields) for fields in self._episode_fields()]
            check_present(self.folder, files)
        if not files:
            raise UserError(f"{self.folder / 'data'}: not found: {_AGAIN}")
        return files

    def check_tables(self) -> None:
        """Compare the rows of all tables with the lengths of the episodes, without reading frames.

        Raises UserError if a table is missing or incomplete, or has more or fewer rows.
        """
        files, length = self.tables(), self.episodes.length
        expected: list[int] | None = length.tolist()
        if self.version == NEWEST:
            listed = self._listed_tables()
            expected = None if listed is None else [listed.get(file, 0) for file in files]
        check_rows(self.folder, files, expected, int(length.sum()))

    def _listed_tables(self) -> dict[Path, int] | None:
        """Return the tables that meta/episodes (v3.0) lists and the number of frames of each.

        None if meta/episodes does not say in which table an episode is.
        """
        keys = ("chunk_index", "file_index")
        table = _episode_tables(self.folder, [f"data/{key}" for key in keys], optional=True)
        if not table.num_columns:
            return None
        counts: dict[Path, int] = {}
        rows = zip(*(numbers(column).tolist() for column in table.columns), self.episodes.length, strict=True)
        for chunk, file, length in rows:
            fields = dict(zip(keys, (int(chunk), int(file)), strict=True))
            path = self.folder / self._path("data_path", **fields)
            counts[path] = counts.get(path, 0) + int(length)
        return counts

    def videos(self, camera: str) -> Videos:
        """Return the videos of a camera.

        Raises UserError if a file is missing or an episode's part of a video is shorter or longer than the
        episode. `check_videos` (data/lerobot/video_check.py) compares the files themselves.
        """
        found = self._shared_videos(camera) if self.version == NEWEST else self._episode_videos(camera)
        check_present(self.folder, [self.folder / name for name in found.names])
        more = (found.end - found.start) * self.fps - self.episodes.length
        wrong = ~(np.abs(more) < 1.501)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            has = "more" if more[row] > 0 else "fewer"
            raise UserError(
                f"{self.folder / found.names[found.file[row]]}: episode {self.episodes.index[row]} has "
                f"{self.episodes.length[row]} frames, but its part of the video, {found.start[row]:g} to "
                f"{found.end[row]:g} s, has {has} at {self.fps:g} Hz: {_AGAIN}"
            )
        return found

    def _shared_videos(self, camera: str) -> Videos:
        keys = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
        columns = {key: f"videos/{camera}/{key}" for key in keys}
        table = _episode_tables(self.folder, list(columns.values()))
        chunk, file, start, end = (numbers(table[name]) for name in columns.values())
        pairs, position = np.unique(np.stack([chunk, file], axis=1), axis=0, return_inverse=True)
        names = [
            self._path("video_path", video_key=camera, chunk_index=int(one), file_index=int(two))
            for one, two in pairs
        ]
        return Videos(names, position.reshape(-1).astype(np.int64), start.astype(float), end.astype(float))

    def _episode_videos(self, camera: str) -> Videos:
        names = [self._path("video_path", video_key=camera, **fields) for fields in self._episode_fields()]
        count = len(names)
        return Videos(names, np.arange(count), np.zeros(count), self.episodes.length / self.fps)

    def _episode_fields(self) -> Iterator[dict[str, int]]:
        """Yield the values for the placeholders in the path templates of v2.x, for each episode."""
        size = self.info.get("chunks_size", 1000)
        if not isinstance(size, int) or size < 1:
            raise UserError(
                f"{self.folder}/meta/info.json: chunks_size is {size!r}: write a whole number above 0"
            )
        for episode in self.episodes.index.tolist():
            yield {"episode_chunk": episode // size, "episode_index": episode}

    def _path(self, key: str, **fields: Any) -> str:
        """Fill in the path template `key` of info.json."""
        return filled_in(self.folder / "meta" / "info.json", key, self.info.get(key), fields)

    def episode_tasks(self) -> Iterator[list[str]]:
        """Yield the instructions that meta/ lists for each episode, in order; [] if it lists none."""
        if self.version == NEWEST:
            table = _episode_tables(self.folder, ["tasks"], optional=True)
            listed = table["tasks"].to_pylist() if table.num_columns else []
        else:
            listed = [row.get("tasks") for row in _lines(self.folder / "meta" / "episodes.jsonl")]
        for tasks in listed:
            each = tasks if isinstance(tasks, list) else [tasks]
            try:
                yield [text for task in each if (text := instruction_text(task)) is not None]
            except ValueError as error:
                raise UserError(
                    f"{self.folder}/meta/episodes: a task of an episode has {error}: write a list of texts"
                ) from None

    def stats(self, episodes: np.ndarray | None = None) -> dict[str, dict[str, Any]] | None:
        """Return the statistics in meta/, or None if there are none.

        If meta/ has statistics of each episode, they are merged; see `merge_statistics`. Then `episodes` (E,)
        bool chooses the episodes to merge.
        """
        whole, parts = self.folder / "meta" / "stats.json", self.folder / "meta" / "episodes_stats.jsonl"
        if episodes is not None and episodes.all():
            episodes = None
        if self.version == "v2.1" and parts.is_file():
            chosen = None if episodes is None else set(self.episodes.index[episodes].tolist())
            lines = (row for row in _lines(parts) if chosen is None or row.get("episode_index") in chosen)
            try:
                return merge_statistics(_checked(parts, row.get("stats", {})) for row in lines)
            except (ValueError, IndexError, ArithmeticError) as error:
                raise UserError(
                    f"{parts}: the statistics of the episodes do not fit together ({one_line(str(error))}): "
                    f"{_AGAIN}"
                ) from None
        if episodes is not None:
            return None
        return _checked(whole, read_json(whole)) if whole.is_file() else None


def _checked(path: Path, stats: Any) -> dict[str, Any]:
    """`stats`, if they are statistics of features; see `check_statistics`."""
    if not isinstance(stats, dict):
        raise UserError(f"{path}: {repr(stats)[:60]} is not a mapping of statistics: {_AGAIN}")
    check_statistics(path, stats)
    return stats


_AGAIN = "download the dataset again, or write it again"


def read_metadata(folder: Path) -> Metadata:
    """Read and check meta/. Raises UserError if a file is missing, damaged, or contradicts another file."""
    folder = Path(folder)
    path = folder / "meta" / "info.json"
    if not path.is_file():
        versions = ", ".join(VERSIONS)
        raise UserError(f"{path}: not found: write the folder of a LeRobot dataset ({versions})")
    check_present(folder, [file for file in sorted((folder / "meta").rglob("*")) if file.is_file()])
    info = read_json(path)
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise UserError(
            f"{path}: codebase_version is {version!r}: convert the dataset to LeRobot {NEWEST} "
            f"(supported: {', '.join(VERSIONS)})"
        )
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not isinstance(fps, (int, float)) or not 0 < fps < 1e6:
        raise UserError(f"{path}: needs `features`, and a frame rate `fps` above 0: {_AGAIN}")
    check_features(path, features)
    if not isinstance(info.get("data_path"), str):
        raise UserError(f"{path}: needs `data_path`: {_AGAIN}")
    if version == NEWEST:
        table = _episode_tables(folder, ["episode_index", "length"])
        index, length = (numbers(table[name]).astype(np.int64) for name in table.column_names)
        tasks = read_tasks(folder)
    else:
        path = folder / "meta" / "episodes.jsonl"
        keys = ("episode_index", "length")
        pairs = [[_whole(path, row, key) for key in keys] for row in _lines(path)]
        index, length = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        tasks = _read_tasks_v2(folder)
    if not len(index) or (length < 1).any() or (np.diff(index) <= 0).any():
        raise UserError(f"{folder}/meta: episodes must have frames and be sorted by episode_index: {_AGAIN}")
    check_totals(folder, info, index, int(length.sum()), len(tasks))
    return Metadata(folder, version, float(fps), features, tasks, Episodes(index, length), info)


def _video_info(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the description of a video feature. Its key depends on the version."""
    return feature.get("info") or feature.get("video_info") or {}


def _episode_tables(folder: Path, columns: list[str], *, optional: bool = False) -> pa.Table:
    """Read columns of meta/episodes (v3.0), sorted by episode_index.

    With `optional`, the table has no columns if one is missing in a file. Raises UserError for a column,
    except `tasks`, that has null or anything other than numbers.
    """
    files = sorted((folder / "meta" / "episodes").glob("*/[!.]*.parquet"))
    if not files:
        raise UserError(f"{folder}/meta/episodes: no Parquet file: {_AGAIN}")
    parts = []
    for file in files:
        try:
            parts.append(read_parquet(file, list(dict.fromkeys(["episode_index", *columns]))))
            if optional and not {*columns} <= {*parts[-1].column_names}:
                return pa.table({})
        except PARQUET_FAULTS:
            raise UserError(f"{file}: not a complete Parquet file: {_AGAIN}") from None
        for name in columns:
            if name not in parts[-1].column_names:
                raise UserError(f"{file}: column {name!r} is missing: {_AGAIN}")
        for name in parts[-1].column_names:
            if name != "tasks":
                try:
                    _check_column(name, numbers(parts[-1][name]))
                except ValueError as error:
                    raise UserError(f"{file}: column {name!r} has {error}: {_AGAIN}") from None
    try:
        table = pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException:
        raise UserError(f"{folder}/meta/episodes: a column has several types: {_AGAIN}") from None
    return table.take(np.argsort(numbers(table["episode_index"]), kind="stable")).select(columns)


def _check_column(name: str, values: np.ndarray) -> None:
    """Raise ValueError for a number that is not finite, and outside of times for one that is not whole."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("NaN or infinity")
    if not name.endswith(TIMES) and ((values % 1).any() or (values > LARGEST).any()):
        raise ValueError(f"a number that is not whole, or above {LARGEST}")


def _whole(path: Path, row: Mapping[str, Any], key: str) -> int:
    """Return the whole number `key` of a record of a .jsonl file."""
    value = row.get(key)
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not -LARGEST <= value <= LARGEST or value % 1:
        text = json.dumps(row)
        line = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}..."
        raise UserError(f"{path}: {key} of the line {line} is no whole number: {_AGAIN}")
    return int(value)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a .jsonl file."""
    try:
        with path.open() as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError(f"line {number} is not a JSON object")
                    yield record
    except FileNotFoundError:
        raise UserError(f"{path}: not found: {_AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}): {_AGAIN}") from None


def _read_tasks_v2(folder: Path) -> list[str | None]:
    path = folder / "meta" / "tasks.jsonl"
    pairs = []
    for row in _lines(path):
        number = _whole(path, row, "task_index")
        if "task" not in row:
            raise UserError(
                f"{path}: task_index {number} has no `task`: write its text, or download it again"
            )
        try:
            pairs.append((number, instruction_text(row["task"])))
        except ValueError as error:
            raise UserError(f"{path}: task_index {number} has {error}: write one text") from None
    if sorted(number for number, _ in pairs) != list(range(len(pairs))):
        raise UserError(f"{path}: task_index must be 0, 1, 2, ...: {_AGAIN}")
    if pairs and not any(task for _, task in pairs):
        raise UserError(f"{folder}: no episode has an instruction: write the texts into meta/{path.name}")
    return [task for _, task in sorted(pairs, key=lambda pair: pair[0])]
