"""The index of a dataset of any size: its numbers as memory-mapped arrays, and the location of each image.

The stage demonstrations (stages/demonstrations_dataset.py) writes the folder of an index: index.json,
stats.json, rows/*.npy and, if the dataset has its images in tables, pictures/. No part is ever loaded as a
whole. The dataset itself stays where it is.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.decoded_pictures import DecodedPictures
from vlm4vla.data.demonstrations.encoded_pictures import EncodedPictures
from vlm4vla.data.lerobot.reader import DemonstrationSet, read_demonstrations, read_json
from vlm4vla.data.pictures.files import resize
from vlm4vla.data.pictures.video import VideoFiles

FORMAT = 1
INDEX, STATS, ROWS, PICTURES = "index.json", "stats.json", "rows", "pictures"
_AGAIN = "generate the demonstrations again"


@dataclass(frozen=True)
class FrameIndex:
    """All N frames and E episodes of a dataset, in order. The arrays are memory-mapped.

    `actions`: (N, 7) float32 in the benchmark's convention. `states` (N, S) and `gripper_points` (N, 2):
    float32, or None. `task_index`: (N,) int64. `episode`: (N,) int64, the index of the frame's episode.
    `first` and `length`: (E,) int64, the first frame and the number of frames of each episode.

    `video_names`: video files relative to `source`, or None if the index contains the images. `video_file`
    (E,) int64 and `video_start` (E,) float64: the video of each episode and its start in seconds.
    `image_size`: height and width in pixels to which images are resized. `tasks`: the instruction of each
    task_index. `stats`: statistics with the keys of LeRobot's stats.json. `camera`: the dataset's feature
    with the images; None in the index of an earlier version.
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
    camera: str | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episode_index(self) -> np.ndarray:
        """Return the index of each frame's episode, (N,), counted from 0."""
        return self.episode

    @property
    def longest_episode(self) -> int:
        """Return the number of frames of the longest episode."""
        return int(self.length.max())

    def last_frames(self, ids: np.ndarray) -> np.ndarray:
        """Return the last frame of the episode of each of the frames `ids`: (len(ids),)."""
        own = self.episode[ids]
        return self.first[own] + self.length[own] - 1

    def identity(self) -> str:
        """Return a text that changes when the index changes, or the size or the time of one of its videos."""
        text = (self.folder / INDEX).read_text()
        for name in ("first", "length", "video_file", "video_start"):
            values = getattr(self, name)
            text += f"{name} {None if values is None else zlib.crc32(np.ascontiguousarray(values))}\n"
        for name in self.video_names or ():
            try:
                status = (self.source / name).stat()
            except OSError:
                continue  # reading a frame of it says so
            text += f"{name} {status.st_size} {status.st_mtime_ns}\n"
        return text

    def video_time(self, row: int) -> float:
        """Return the time, in seconds, at which a frame's video shows the frame."""
        own = self.episode[row]
        return float(self.video_start[own] + (row - self.first[own]) / self.fps)


class FramePictures:
    """Reads the images of a `FrameIndex`. Each process needs its own, because open files are not shared.

    `keep`: keep the decoded frames of videos for the next reading (decoded_pictures.py). `side`: resize kept
    frames to `side` x `side` pixels, for readers that resize every image as a whole.
    """

    def __init__(self, index: FrameIndex, *, keep: bool = False, side: int | None = None):
        self.index = index
        self._kept: DecodedPictures | None = None
        self._side = None
        if keep and index.video_names is not None:
            self._kept = DecodedPictures(index.folder, f"{side}\n{index.identity()}", len(index))
            self._side = side
        self._videos = VideoFiles(index.fps)
        self._encoded = EncodedPictures(index.folder / PICTURES) if index.video_names is None else None

    def original(self, row: int) -> np.ndarray:
        """Return an image in its original size, or in the size in which it is kept: (H, W, 3) uint8.

        Raises UserError if it cannot be read.
        """
        if self._encoded is not None:
            return self._encoded.picture(row)
        if self._kept is None:
            return self._decoded(row)
        picture = self._kept.get(row)
        if picture is None:
            picture = self._decode_and_keep(row)
        return picture

    def _decoded(self, row: int) -> np.ndarray:
        index = self.index
        name = index.video_names[index.video_file[index.episode[row]]]
        picture = self._videos.frame(index.source / name, index.video_time(row))
        return picture if self._side is None else resize(picture, self._side)

    def _decode_and_keep(self, row: int) -> np.ndarray:
        """Decode a frame. Keep it, and the other frame of its pair, which the decoder passes or has next.

        LeRobot's videos and ours have a keyframe at every second frame.
        """
        own = self.index.episode[row]
        first = int(self.index.first[own])
        other = first + ((row - first) ^ 1)
        if not self._kept.wants(row) or other >= first + self.index.length[own]:
            picture = self._decoded(row)
            self._kept.keep(row, picture)
            return picture
        pictures = {}
        for each in sorted((row, other)):
            if each == other and not self._kept.wants(other):
                continue
            try:
                pictures[each] = self._decoded(each)
                self._kept.keep(each, pictures[each])
            except UserError:
                if each == row:
                    raise
        return pictures[row]

    def picture(self, row: int) -> np.ndarray:
        """Return the image of a frame as (image_size, image_size, 3) uint8."""
        return resize(self.original(row), self.index.image_size)

    def reading_order(self, rows: np.ndarray) -> np.ndarray:
        """Return the permutation of `rows` that is read fastest: file by file, and forward in each file."""
        index = self.index
        if index.video_names is None:
            return np.argsort(rows, kind="stable")
        own = index.episode[rows]
        return np.lexsort((rows, index.video_start[own], index.video_file[own]))

    def close(self) -> None:
        """Close the open files."""
        self._videos.close()
        if self._kept is not None:
            self._kept.close()


def open_demonstrations(folder: Path, *, images: bool = True) -> DemonstrationSet | FrameIndex:
    """Open the demonstrations in `folder`. An index is memory-mapped; a dataset is read into memory.

    `images=False` skips the images of a dataset, which makes this a cheap check. Raises UserError if a part
    is missing or invalid.
    """
    folder = Path(folder)
    if (folder / INDEX).is_file():
        return open_index(folder)
    return read_demonstrations(folder, images=images)


def open_index(folder: Path) -> FrameIndex:
    """Open an index. Raises UserError if a part is missing or belongs to another dataset."""
    folder = Path(folder)
    record = read_json(folder / INDEX)
    if record.get("format") != FORMAT:
        raise UserError(
            f"{folder / INDEX}: has the format {record.get('format')!r}, but this version reads the format "
            f"{FORMAT}: {_AGAIN}"
        )
    source = Path(record["source"])
    if record["video_names"] is not None and not source.is_dir():
        raise UserError(
            f"{folder / INDEX}: the dataset {source} does not exist any more: restore it, or {_AGAIN}"
        )
    arrays = {name: _mapped(folder, name) for name in record["rows"]}
    count = len(arrays["actions"])
    if {len(arrays[name]) for name in ("task_index", "episode")} != {count}:
        raise UserError(f"{folder / ROWS}: the arrays differ in length: {_AGAIN}")
    stats = read_json(folder / STATS)
    stated = (stats.get("action") or {}).get("count")
    if stated != [count]:
        raise UserError(
            f"{folder / STATS}: has statistics of {stated} actions, but the index has {count}, so the "
            f"statistics belong to another dataset: {_AGAIN}"
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
        camera=record.get("camera"),
        **(missing | arrays),
    )


def _mapped(folder: Path, name: str) -> np.ndarray:
    path = folder / ROWS / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): {_AGAIN}") from None


def index_json(**values: Any) -> str:
    """Return the text of index.json."""
    return json.dumps({"format": FORMAT, **values}, indent=1) + "\n"
