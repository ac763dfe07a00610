"""Writing demonstrations as a LeRobot v3.0 data set, episode by episode.

The same episodes give the same bytes. Frames stream to files; the metadata is written when the writer is
closed, and meta/info.json last, so that an unfinished folder is never read as a data set. Large sets are
written in several files, and a writer that was killed goes on behind the last whole one (unfinished_set.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.conventions.actions import ACTION_NAMES
from vlm4vla.core.artefacts import atomic_path, write_json
from vlm4vla.data.lerobot.description import (
    DATA_PATH,
    PLACES,
    arrow_schema,
    info_record,
    place_of,
    tasks_table,
)
from vlm4vla.data.lerobot.episode_file import EpisodeFile
from vlm4vla.data.lerobot.reader import ACTION, IMAGE, STATE
from vlm4vla.data.lerobot.summaries import flat, levels_of, summarise, summarise_pixels
from vlm4vla.data.lerobot.unfinished import UnfinishedSet
from vlm4vla.data.parquet import numbers, read_parquet, vectors

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper_opening", "holding")


class LeRobotWriter:
    """Collects episodes into one data set in `folder`.

    `fps`: control rate in Hz. `image_size`: height and width in pixels. `more`: further columns of number
    lists, with the names of their numbers. `pictures`: as PNG in the tables, or as a video. With
    `episodes_per_file` there are several files, and `identity` (JSON values: what the episodes come from)
    makes the writer go on with what a killed one of the same identity has left: `done` says how many episodes
    are there, add those behind them. Raises UserError when `folder` holds an unfinished set of another one.

    Use as a context manager, or call `close`; leaving the context by an exception writes no data set.
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
        pictures: Literal["png", "video"] = "png",
        episodes_per_file: int | None = None,
        identity: Mapping[str, Any] | None = None,
    ):
        self.folder = Path(folder)
        self.fps = fps
        self.robot_type = robot_type
        self.image_size = image_size
        self.video = pictures == "video"
        if self.video and image_size % 2:
            raise ValueError(f"a video of {image_size} pixels a side cannot be: write an even side, or PNG")
        self._names = {STATE: list(state_names), ACTION: list(action_names)}
        self._names |= {name: list(names) for name, names in (more or {}).items()}
        self._schema = arrow_schema(self._names, self.video)
        self._per_file = episodes_per_file
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._levels = np.zeros((3, 256), dtype=np.int64)  # how often each pixel value is, per channel
        self._frames = self._files = 0
        self._file: EpisodeFile | None = None
        self._begun = (0, self._levels)  # episodes and pixels before it
        self._unfinished = None if identity is None else UnfinishedSet(self.folder, identity)
        for part in self._unfinished.parts() if self._unfinished else ():
            self._episodes += part["episodes"]
            self._tasks = {task: number for number, task in enumerate(part["tasks"])}
            self._levels += np.array(part["levels"])
            self._files += 1
        if self._episodes:
            self._frames = self._episodes[-1]["dataset_to_index"]

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        if kind is None:
            self.close()
        elif self._file is not None:
            self._file.abandon()

    @property
    def done(self) -> int:
        """Episodes that are written; those of a killed writer are among them."""
        return len(self._episodes)

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
        lists = self._checked(images, {STATE: states, ACTION: actions, **(more or {})})
        length, episode = len(images), len(self._episodes)
        task = self._tasks.setdefault(instruction, len(self._tasks))
        frame = np.arange(length, dtype=np.int64)
        numbers = {
            **lists,
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(length, episode, dtype=np.int64),
            "task_index": np.full(length, task, dtype=np.int64),
        }
        if self._file is None:
            size, fps = self.image_size, self.fps
            self._file = EpisodeFile(
                self.folder, self._files, self._schema, video=self.video, size=size, fps=fps
            )
            self._begun = len(self._episodes), self._levels.copy()
        self._levels += levels_of(images)
        place = self._file.add(images, numbers, self._frames)
        self._episodes.append(
            {"episode_index": episode, "tasks": [instruction], "length": length}
            | place
            | {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
            | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            | flat({name: summarise(values) for name, values in lists.items()})
        )
        self._frames += length
        if self._file.episodes == self._per_file:
            self._end_file()
        return episode

    def close(self) -> None:
        """Write statistics and metadata; then the folder is a data set. ValueError without an episode."""
        if not self._episodes:
            raise ValueError("a data set needs at least one episode")
        self._end_file()
        meta = self.folder / "meta"
        episodes = pa.Table.from_pylist(self._episodes)
        _write_table(meta / "episodes" / "chunk-000" / "file-000.parquet", episodes)
        _write_table(meta / "tasks.parquet", tasks_table(self._tasks))
        write_json(meta / "stats.json", self._stats())
        counts = {"episodes": len(self._episodes), "frames": self._frames, "tasks": len(self._tasks)}
        info = info_record(
            self._names,
            video=self.video,
            size=self.image_size,
            fps=self.fps,
            robot_type=self.robot_type,
            counts=counts,
        )
        write_json(meta / "info.json", info)
        if self._unfinished:
            self._unfinished.clear()

    def _checked(self, images: np.ndarray, lists: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The number lists as float32. ValueError when anything has another shape or type, or NaN."""
        episode, length, size = len(self._episodes), len(lists[ACTION]), self.image_size
        if images.shape != (length, size, size, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"images must be ({length}, {size}, {size}, 3) uint8, got {images.shape} {images.dtype}"
            )
        lists = {name: np.asarray(values, dtype=np.float32) for name, values in lists.items()}
        shapes = {name: values.shape for name, values in lists.items()}
        if not length or shapes != {name: (length, len(names)) for name, names in self._names.items()}:
            raise ValueError(f"episode {episode} of {length} frames has {shapes}")
        for name, values in lists.items():
            if not np.isfinite(values).all():
                raise ValueError(f"episode {episode} has NaN or infinity in {name}")
        return lists

    def _end_file(self) -> None:
        """Put the present file in place, and note that it is there."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if self._unfinished:
            before, levels = self._begun
            self._unfinished.note(
                self._files,
                episodes=self._episodes[before:],
                tasks=list(self._tasks),
                levels=(self._levels - levels).tolist(),
            )
        self._files += 1

    def _stats(self) -> dict[str, Any]:
        """Statistics of the whole; numbers are read back from the tables, column by column."""
        pictures = {IMAGE: summarise_pixels(self._levels, self._frames)}
        named = [*self._names, *(name for name in PLACES if name != "index"), "index"]
        return pictures | {name: summarise(self._column(name)) for name in named}

    def _column(self, name: str) -> np.ndarray:
        files = [self.folder / DATA_PATH.format(**place_of(number)) for number in range(self._files)]
        read = vectors if name in self._names else numbers
        values = np.concatenate([read(read_parquet(file, [name])[name]) for file in files])
        return values.reshape(self._frames, -1)


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)
