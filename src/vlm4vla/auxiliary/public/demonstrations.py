"""Spatial questions about frames of a LeRobot data set, answered from the robot's own states.

The authors' BridgeVQA asks about objects that a detector and a depth network find in such frames, and is not
released. What a recording itself tells is where the gripper is, where it goes, and where the task ends.
Questions that such networks have made can be given as a set of the layout `conversations`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.auxiliary.public.lerobot_layout import LeRobotLayout
from vlm4vla.auxiliary.public.sample import Fault, Sample
from vlm4vla.auxiliary.public.table_rows import ParquetRows, check_columns
from vlm4vla.auxiliary.public.tables import picture_of
from vlm4vla.config.public_sets import SetSettings
from vlm4vla.data.lerobot.reader import GRIPPER_POINT
from vlm4vla.data.pictures.files import PictureFile

STILL = 0.01  # metres: below it no direction is named
OPPOSITE = {
    "forward": "backward",
    "backward": "forward",
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
}
INDICES = ("episode_index", "frame_index", "timestamp", "task_index")
Row = Mapping[str, Any]


class DemonstrationFrames:
    """Every `settings.every`-th frame of every episode. States are metres along `settings.axes`.

    A position is where the episode of the last sample begins, and how many of its samples have been given.
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

    def read(self, position: Any = None) -> Iterator[Sample | Fault]:
        """See `Samples`."""
        start = position or {"episode": None, "given": 0}
        given = start["given"]
        for begins, rows in self._episodes(start["episode"]):
            for number, sample in enumerate(self._samples(rows)):
                if number < given:
                    continue
                self.position = {"episode": begins, "given": number + 1}
                yield sample
            given = 0

    def _episodes(self, position: Any) -> Iterator[tuple[Any, list[Row]]]:
        """The rows of each episode, and the position before them."""
        rows: list[Row] = []
        begins = before = position
        for _, row in self.rows.read(position):
            if rows and row["episode_index"] != rows[0]["episode_index"]:
                yield begins, rows
                rows, begins = [], before
            rows.append(row)
            before = list(self.rows.position)
        if rows:
            yield begins, rows

    def _samples(self, rows: Sequence[Row]) -> Iterator[Sample | Fault]:
        episode = rows[0]["episode_index"]
        where = f"{self.layout.folder}: episode {episode}"
        states = [np.asarray(row[self.state], dtype=float).ravel()[:3] for row in rows]
        if any(len(state) < 3 or not np.isfinite(state).all() for state in states):
            yield Fault(where, f"{self.state!r} lacks x, y, z in metres: say in columns.state which has them")
            return
        places = np.stack(states)
        task = self.layout.tasks.get(rows[0]["task_index"], "")
        ahead = max(round(self.layout.fps), 1)
        for frame in range(0, len(rows), self.settings.every):
            statements = [("What is the robot asked to do?", task)] if task else []
            later = min(frame + ahead, len(rows) - 1)
            statements += moves(places[later] - places[frame], "in the next second", self.settings.axes)
            statements += ends(places[-1] - places[frame], self.settings.axes)
            point = rows[frame].get(GRIPPER_POINT)
            if point is not None and all(0 <= share <= 1 for share in point):
                said = f"[({point[0]:.3f}, {point[1]:.3f})]"
                statements.append(
                    ("Where is the gripper? Answer with its column and row as shares of the picture.", said)
                )
            picture = self._picture(rows[frame])
            if picture is None:
                yield Fault(f"{where}, frame {frame}", None)
                continue
            yield Sample(f"{episode}/{frame}", picture, tuple(statements), f"episode {episode}")

    def _picture(self, row: Row) -> PictureFile | None:
        if not self.layout.in_video:
            return picture_of(row[self.layout.camera])
        path, start = self.layout.video(row["episode_index"])
        return PictureFile(path=path, seconds=start + float(row["timestamp"]))


def direction(way: np.ndarray, axes: Sequence[str]) -> str:
    """The axis, in words, along which `way` (3,) is longest."""
    axis = int(np.argmax(np.abs(way)))
    return axes[axis] if way[axis] > 0 else OPPOSITE[axes[axis]]


def moves(way: np.ndarray, when: str, axes: Sequence[str]) -> list[tuple[str, str]]:
    """Where the gripper goes and how far; `way` (3,) in metres."""
    length = float(np.linalg.norm(way))
    said = direction(way, axes) if length >= STILL else "it stays"
    return [
        (f"Which way does the gripper move {when}?", said),
        (f"How far does the gripper move {when}, in centimetres?", f"{100 * length:.0f}"),
    ]


def ends(way: np.ndarray, axes: Sequence[str]) -> list[tuple[str, str]]:
    """Where the task ends from the gripper; `way` (3,) in metres."""
    length = float(np.linalg.norm(way))
    said = [("How far is the gripper from where the task ends, in centimetres?", f"{100 * length:.0f}")]
    if length >= STILL:
        said.append(("Which way from the gripper is the place where the task ends?", direction(way, axes)))
    return said
