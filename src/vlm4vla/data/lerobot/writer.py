"""Write demonstrations as a LeRobot v3.0 dataset, episode by episode.

The same episodes give the same bytes. Frames are written to files as they arrive. The metadata is written
when the writer is closed, and meta/info.json comes last, so an unfinished folder is never read as a dataset.
A large dataset is written as several files. An interrupted writer resumes after the last complete file
(unfinished.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.conventions.actions import ACTION_NAMES
from vlm4vla.conventions.columns.parquet import DATASET_EPISODES, described
from vlm4vla.core.artefacts import atomic_path, write_json
from vlm4vla.data.instructions import instruction_text
from vlm4vla.data.lerobot.description import (
    DATA_PATH,
    FRAME_COLUMNS,
    arrow_schema,
    info_record,
    path_fields,
    tasks_table,
)
from vlm4vla.data.lerobot.episode_file import EpisodeFile
from vlm4vla.data.lerobot.reader import ACTION, IMAGE, STATE
from vlm4vla.data.lerobot.unfinished import UnfinishedDataset
from vlm4vla.data.parquet import numbers, read_parquet, vectors
from vlm4vla.data.statistics import array_statistics, count_levels, pixel_statistics

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper_opening", "holding")


class LeRobotWriter:
    """Writes episodes to one dataset in `folder`.

    `fps`: control rate in Hz. `image_size`: height and width of the images in pixels. `extra_columns`:
    further columns of number lists, with the names of their numbers. `pictures`: whether images become PNGs
    in the tables or a video. `episodes_per_file`: None writes a single file.

    With `identity` (JSON values that identify the source of the episodes), the writer resumes an unfinished
    dataset with the same identity. `done` is then the number of episodes that are already written; add the
    episodes after them. Raises UserError if `folder` contains an unfinished dataset with another identity.

    Use the writer as a context manager, or call `close`. Leaving the context by an exception writes no
    dataset.
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
        extra_columns: Mapping[str, Sequence[str]] | None = None,
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
            raise ValueError(
                f"a video needs an even image size, not {image_size}: write another size, or PNG"
            )
        self._names = {STATE: list(state_names), ACTION: list(action_names)}
        self._names |= {name: list(names) for name, names in (extra_columns or {}).items()}
        self._schema = arrow_schema(self._names, self.video)
        self._per_file = episodes_per_file
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._levels = np.zeros((3, 256), dtype=np.int64)  # how often each pixel value occurs, per channel
        self._frames = self._files = 0
        self._file: EpisodeFile | None = None
        self._before_file = (0, self._levels)  # number of episodes and levels before the current file
        self._unfinished = None if identity is None else UnfinishedDataset(self.folder, identity)
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
        """Number of episodes written so far, including those of an interrupted writer."""
        return len(self._episodes)

    def add_episode(
        self,
        images: np.ndarray,
        states: np.ndarray,
        actions: np.ndarray,
        instruction: str,
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> int:
        """Append one episode and return its index.

        `images`: (T, H, W, 3) uint8. `states`: (T, S). `actions`: (T, 7) in environment units. Row t holds an
        observation and the action that the robot then took. `extra`: the extra columns, (T, D) each.
        `instruction`: the task of the episode. Raises ValueError for other shapes or types, for NaN, and for
        a blank instruction.
        """
        if instruction_text(instruction) is None:
            raise ValueError(f"episode {len(self._episodes)} has no instruction, but {instruction!r}")
        lists = self._checked(images, {STATE: states, ACTION: actions, **(extra or {})})
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
            self._before_file = len(self._episodes), self._levels.copy()
        self._levels += count_levels(images)
        location = self._file.add(images, numbers, self._frames)
        self._episodes.append(
            {"episode_index": episode, "tasks": [instruction], "length": length}
            | location
            | {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
            | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            | {
                f"stats/{name}/{key}": value
                for name, values in lists.items()
                for key, value in array_statistics(values).items()
            }
        )
        self._frames += length
        if self._file.episodes == self._per_file:
            self._end_file()
        return episode

    def close(self) -> None:
        """Complete the dataset with statistics and metadata. Raises ValueError if there is no episode."""
        if not self._episodes:
            raise ValueError("a dataset needs at least one episode")
        self._end_file()
        meta = self.folder / "meta"
        episodes = described(pa.Table.from_pylist(self._episodes), DATASET_EPISODES)
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
        """Return the number lists as float32. Raises ValueError for other shapes or types, and for NaN."""
        episode, size = len(self._episodes), self.image_size
        length = next(iter(np.shape(lists[ACTION])), 0)
        if images.shape != (length, size, size, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"images must be ({length}, {size}, {size}, 3) uint8, got {images.shape} {images.dtype}"
            )
        lists = {name: np.asarray(values, dtype=np.float32) for name, values in lists.items()}
        shapes = {name: values.shape for name, values in lists.items()}
        if not length or shapes != {name: (length, len(names)) for name, names in self._names.items()}:
            raise ValueError(f"episode {episode} of {length} frames has columns of the shapes {shapes}")
        for name, values in lists.items():
            if not np.isfinite(values).all():
                raise ValueError(f"episode {episode} has NaN or infinity in {name}")
        return lists

    def _end_file(self) -> None:
        """Complete the current file and record it."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if self._unfinished:
            before, levels = self._before_file
            self._unfinished.record_part(
                self._files,
                episodes=self._episodes[before:],
                tasks=list(self._tasks),
                levels=(self._levels - levels).tolist(),
            )
        self._files += 1

    def _stats(self) -> dict[str, Any]:
        """Return statistics of the whole dataset. Numbers are read back from the tables, column by column."""
        images = {IMAGE: pixel_statistics(self._levels, self._frames)}
        names = [*self._names, *(name for name in FRAME_COLUMNS if name != "index"), "index"]
        return images | {name: array_statistics(self._column(name)) for name in names}

    def _column(self, name: str) -> np.ndarray:
        files = [self.folder / DATA_PATH.format(**path_fields(number)) for number in range(self._files)]
        read = vectors if name in self._names else numbers
        values = np.concatenate([read(read_parquet(file, [name])[name]) for file in files])
        return values.reshape(self._frames, -1)


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)
