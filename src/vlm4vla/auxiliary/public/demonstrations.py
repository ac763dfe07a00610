"""Spatial questions about the frames of a LeRobot dataset, answered from the recorded robot states.

The authors' BridgeVQA, which is not released, asks about objects that a detector and a depth network find in
such frames. The recorded states only tell where the gripper is, where it goes, and where the task ends.
Questions from a detector and a depth network can be used as a dataset of the layout `conversations`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.auxiliary.public.sample import InvalidRow, Sample
from vlm4vla.auxiliary.public.table_rows import ParquetRows, check_columns
from vlm4vla.auxiliary.public.tables import read_picture
from vlm4vla.config.public_sets import SetSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.instructions import LeftOut
from vlm4vla.data.lerobot.frame_rows import frame_batches
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.reader import GRIPPER_POINT
from vlm4vla.data.lerobot.video_check import check_videos
from vlm4vla.data.pictures.files import PictureFile

STILL = 0.01  # metres; a shorter motion has no direction
OPPOSITE = {
    "forward": "backward",
    "backward": "forward",
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
}
INDICES = ("episode_index", "frame_index", "task_index")
Row = Mapping[str, Any]


class LeRobotLayout:
    """The tables, the instructions and one camera's images of a LeRobot dataset.

    `camera`: the feature with the images; "" stands for the first camera. Raises UserError if the dataset
    has another layout, a file is missing, or there is no such camera.
    """

    def __init__(self, folder: Path, camera: str):
        self.folder = folder
        metadata = read_metadata(folder)
        cameras = metadata.cameras()
        self.camera = camera or (cameras[0] if cameras else "")
        if self.camera not in cameras:
            raise UserError(
                f"{folder}/meta/info.json: no camera {self.camera!r}: write another camera as "
                f"columns.picture (found: {', '.join(cameras) or 'none'})"
            )
        metadata.check_tables()
        self.features = metadata.features
        self.in_video = metadata.is_video(self.camera)
        self.fps = metadata.fps
        self.tables = metadata.tables()
        self.tasks = dict(enumerate(metadata.tasks))
        self.metadata = metadata
        self._videos = metadata.videos(self.camera) if self.in_video else None
        self._first_start = np.zeros(0)  # of each video file: the start of its first episode
        if self._videos is not None:
            self._first_start = np.full(len(self._videos.names), np.inf)
            np.minimum.at(self._first_start, self._videos.file, self._videos.start)
        self._row_of_episode = {int(episode): row for row, episode in enumerate(metadata.episodes.index)}

    def check_videos(self) -> None:
        """Compare the camera's videos with meta/; see `check_videos` in data/lerobot/video_check.py."""
        if self._videos is not None:
            check_videos(self.metadata, self._videos)

    def uninstructed(self) -> dict[int, int]:
        """Return the episodes with a frame that has no instruction, and the number of frames of each.

        Raises UserError if the rows are not the frames that meta/ lists; see `frame_batches`.
        """
        blank = np.array([text is None for text in self.metadata.tasks] + [True])  # the last one is for null
        found: set[int] = set()
        for batch in frame_batches(self.metadata, self.tables, []):
            found.update(batch.episode[blank[batch.task_index]].tolist())
        episodes = self.metadata.episodes
        return {int(episodes.index[row]): int(episodes.length[row]) for row in sorted(found)}

    def video(self, episode: int) -> tuple[str, float]:
        """Return an episode's video file, relative to the folder, and the episode's start in it.

        The start is in seconds after the first frame of the file.
        """
        if episode not in self._row_of_episode:
            raise UserError(
                f"{self.folder}/meta: episode {episode} is missing: download or write the dataset again"
            )
        row = self._row_of_episode[episode]
        file = self._videos.file[row]
        return self._videos.names[file], float(self._videos.start[row] - self._first_start[file])


class DemonstrationFrames:
    """Samples from every `settings.every`-th frame of every episode.

    The first three numbers of a state are metres along `settings.axes`. A position is where the episode of
    the last sample starts, and how many samples of that episode have been read. Episodes without an
    instruction (data/instructions.py) give no samples.
    """

    def __init__(self, folder: Path, settings: SetSettings):
        self.settings = settings
        self.layout = LeRobotLayout(folder, settings.columns["picture"])
        self.state = settings.columns["state"]
        check_columns(f"{folder}/meta/info.json", list(self.layout.features), [self.state])
        columns = [*INDICES, self.state]
        columns += [GRIPPER_POINT] if GRIPPER_POINT in self.layout.features else []
        columns += [] if self.layout.in_video else [self.layout.camera]
        self.rows = ParquetRows(self.layout.tables, columns)
        self.position: Any = {"episode": None, "given": 0}

    def check(self) -> LeftOut:
        """Check all files against meta/, and return the number of episodes without an instruction.

        Raises UserError if a video does not match meta/, and if no episode has an instruction.
        """
        self.layout.check_videos()
        left_out = LeftOut.of(self.uninstructed.values())
        if left_out.episodes == len(self.layout.metadata.episodes):
            raise UserError(
                f"{self.layout.folder}: no episode has an instruction: write the texts into meta/"
            )
        return left_out

    @cached_property
    def uninstructed(self) -> dict[int, int]:
        """See `LeRobotLayout.uninstructed`."""
        return self.layout.uninstructed()

    def read(self, position: Any = None) -> Iterator[Sample | InvalidRow]:
        """See `PublicSamples`."""
        resumed = position or {"episode": None, "given": 0}
        skip = resumed["given"]
        for start, rows in self._episodes(resumed["episode"]):
            if _scalar(rows[0]["episode_index"]) in self.uninstructed:
                continue
            for number, sample in enumerate(self._samples(rows)):
                if number < skip:
                    continue
                self.position = {"episode": start, "given": number + 1}
                yield sample
            skip = 0

    def _episodes(self, position: Any) -> Iterator[tuple[Any, list[Row]]]:
        """Yield the rows of each episode, with the position before its first row."""
        rows: list[Row] = []
        start = before = position
        for _, row in self.rows.read(position):
            if rows and _scalar(row["episode_index"]) != _scalar(rows[0]["episode_index"]):
                yield start, rows
                rows, start = [], before
            rows.append(row)
            before = list(self.rows.position)
        if rows:
            yield start, rows

    def _samples(self, rows: Sequence[Row]) -> Iterator[Sample | InvalidRow]:
        episode = _scalar(rows[0]["episode_index"])
        where = f"{self.layout.folder}: episode {episode}"
        try:
            states = [np.asarray(row[self.state], dtype=float).ravel()[:3] for row in rows]
        except (TypeError, ValueError):  # texts, or lists of different lengths
            states = []
        if not states or any(len(state) < 3 or not np.isfinite(state).all() for state in states):
            problem = f"{self.state!r} has no x, y, z in metres: write another column as columns.state"
            yield InvalidRow(where, problem)
            return
        positions = np.stack(states)
        ahead = max(round(self.layout.fps), 1)
        for frame in range(0, len(rows), self.settings.every):
            task = self.layout.tasks.get(_scalar(rows[frame]["task_index"]))
            statements = [("What is the robot asked to do?", task)] if task else []
            later = min(frame + ahead, len(rows) - 1)
            motion = positions[later] - positions[frame]
            statements += motion_questions(motion, "in the next second", self.settings.axes)
            statements += goal_questions(positions[-1] - positions[frame], self.settings.axes)
            point = rows[frame].get(GRIPPER_POINT)
            if point is not None and all(share is not None and 0 <= share <= 1 for share in point):
                answer = f"[({point[0]:.3f}, {point[1]:.3f})]"
                statements.append(
                    ("Where is the gripper? Answer with its column and row as shares of the picture.", answer)
                )
            picture = self._picture(rows[frame])
            if picture is None:
                yield InvalidRow(f"{where}, frame {frame}", None)
                continue
            group = f"episode {episode}"
            yield Sample(f"{episode}/{frame}", picture, tuple(statements), group, f"{where}, frame {frame}")

    def _picture(self, row: Row) -> PictureFile | None:
        if not self.layout.in_video:
            return read_picture(row[self.layout.camera])
        path, start = self.layout.video(_scalar(row["episode_index"]))
        # The middle of the frame's time is always in the frame, however the two times are rounded.
        middle = start + (_scalar(row["frame_index"]) + 0.5) / self.layout.fps
        return PictureFile(path=path, seconds=middle)


def _scalar(value: Any) -> int:
    """Return a number of a row, which may be stored as a list of one number."""
    return int(value[0] if isinstance(value, list) else value)


def direction(vector: np.ndarray, axes: Sequence[str]) -> str:
    """Return, in words, the direction of the largest component of `vector` (3,)."""
    axis = int(np.argmax(np.abs(vector)))
    return axes[axis] if vector[axis] > 0 else OPPOSITE[axes[axis]]


def motion_questions(motion: np.ndarray, when: str, axes: Sequence[str]) -> list[tuple[str, str]]:
    """Ask for the direction and the length of a motion (3,) of the gripper in metres."""
    length = float(np.linalg.norm(motion))
    answer = direction(motion, axes) if length >= STILL else "it stays"
    return [
        (f"Which way does the gripper move {when}?", answer),
        (f"How far does the gripper move {when}, in centimetres?", f"{100 * length:.0f}"),
    ]


def goal_questions(remaining: np.ndarray, axes: Sequence[str]) -> list[tuple[str, str]]:
    """Ask for the distance and the direction from the gripper to the end of the task.

    `remaining` (3,) is the vector from the gripper to the last position of the episode, in metres.
    """
    length = float(np.linalg.norm(remaining))
    questions = [("How far is the gripper from where the task ends, in centimetres?", f"{100 * length:.0f}")]
    if length >= STILL:
        where = direction(remaining, axes)
        questions.append(("Which way from the gripper is the place where the task ends?", where))
    return questions
