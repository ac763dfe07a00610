"""A data set of any size, indexed: its numbers as mapped arrays, and where the picture of each frame is.

The stage demonstrations makes the folder (dataset_stage.py): index.json, stats.json, rows/*.npy, and
pictures/ where the data set keeps them in its tables. Nothing of it is loaded whole, and the data set itself
stays where it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.encoded_pictures import EncodedPictures
from vlm4vla.data.lerobot.reader import read_json
from vlm4vla.data.pictures.resizing import resize
from vlm4vla.data.pictures.video import VideoFiles

FORMAT = 1
INDEX, STATS, ROWS, PICTURES = "index.json", "stats.json", "rows", "pictures"
_AGAIN = "make the demonstrations again"


@dataclass(frozen=True)
class FrameIndex:
    """All frames of a data set, in order.

    actions (N, 7) float32 in the benchmark's convention, states (N, S) and gripper_points (N, 2) float32 or
    None, task_index (N,), episode (N,): place of the frame's episode in first and length (E,); all int64 but
    the first three, and mapped. `tasks`: instruction of each task_index. `stats`: as LeRobot's stats.json.
    `video_names`: files below `source`, or None where pictures are in the index; `video_file` (E,) int64 and
    `video_start` (E,) float64, seconds, say where an episode begins. `image_size`: side in pixels that
    pictures are resized to.
    """

    folder: Path
    source: Path
    fps: float
    image_size: int
    tasks: list[str]
    stats: dict[str, Any]
    actions: np.ndarray
    task_index: np.ndarray
    episode: np.ndarray
    first: np.ndarray
    length: np.ndarray
    states: np.ndarray | None
    gripper_points: np.ndarray | None
    video_names: list[str] | None
    video_file: np.ndarray | None
    video_start: np.ndarray | None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episode_index(self) -> np.ndarray:
        """(N,) number of each frame's episode, counted from 0."""
        return self.episode

    @property
    def longest_episode(self) -> int:
        """Frames of the longest episode."""
        return int(self.length.max())

    def last(self, ids: np.ndarray) -> np.ndarray:
        """(len(ids),) the last frame of each frame's own episode."""
        own = self.episode[ids]
        return self.first[own] + self.length[own] - 1

    def seconds(self, row: int) -> float:
        """When, in its video, a frame is shown."""
        own = self.episode[row]
        return float(self.video_start[own] + (row - self.first[own]) / self.fps)


class FramePictures:
    """Pictures of a `FrameIndex`, one process's own: open videos and mapped files are not shared."""

    def __init__(self, index: FrameIndex):
        self.index = index
        self._videos = VideoFiles(index.fps)
        self._encoded = EncodedPictures(index.folder / PICTURES) if index.video_names is None else None

    def original(self, row: int) -> np.ndarray:
        """The picture of a frame in its own size, (H, W, 3) uint8. UserError when it cannot be read."""
        if self._encoded is not None:
            return self._encoded.picture(row)
        index = self.index
        name = index.video_names[index.video_file[index.episode[row]]]
        return self._videos.frame(index.source / name, index.seconds(row))

    def picture(self, row: int) -> np.ndarray:
        """The picture of a frame, (image_size, image_size, 3) uint8."""
        return resize(self.original(row), self.index.image_size)

    def order(self, rows: np.ndarray) -> np.ndarray:
        """Places of `rows` in the order in which they are read fastest: file by file, forward."""
        index = self.index
        if index.video_names is None:
            return np.argsort(rows, kind="stable")
        own = index.episode[rows]
        return np.lexsort((rows, index.video_start[own], index.video_file[own]))

    def close(self) -> None:
        """Close the open files."""
        self._videos.close()


def is_index(folder: Path) -> bool:
    """Whether `folder` indexes a data set, and is none itself."""
    return (Path(folder) / INDEX).is_file()


def open_index(folder: Path) -> FrameIndex:
    """Map what `write_index` wrote. Raises UserError when a part is missing, or of another data set."""
    folder = Path(folder)
    record = read_json(folder / INDEX)
    if record.get("format") != FORMAT:
        raise UserError(
            f"{folder / INDEX}: format {record.get('format')!r}, this version reads {FORMAT}: {_AGAIN}"
        )
    source = Path(record["source"])
    if record["video_names"] is not None and not source.is_dir():
        raise UserError(f"{folder / INDEX}: the data set {source} is gone: put it there, or {_AGAIN}")
    arrays = {name: _mapped(folder, name) for name in record["rows"]}
    count = len(arrays["actions"])
    if {len(arrays[name]) for name in ("task_index", "episode")} != {count}:
        raise UserError(f"{folder / ROWS}: arrays differ in length: {_AGAIN}")
    stats = read_json(folder / STATS)
    stated = (stats.get("action") or {}).get("count")
    if stated != [count]:
        raise UserError(
            f"{folder / STATS}: statistics of {stated} actions, the index has {count}: these are statistics "
            f"of another data set: {_AGAIN}"
        )
    missing = dict.fromkeys(("states", "gripper_points", "video_file", "video_start"))
    return FrameIndex(
        folder=folder,
        source=source,
        fps=record["fps"],
        image_size=record["image_size"],
        tasks=record["tasks"],
        stats=stats,
        video_names=record["video_names"],
        **(missing | arrays),
    )


def _mapped(folder: Path, name: str) -> np.ndarray:
    path = folder / ROWS / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): {_AGAIN}") from None


def index_record(**values: Any) -> str:
    """index.json's text."""
    return json.dumps({"format": FORMAT, **values}, indent=1) + "\n"
