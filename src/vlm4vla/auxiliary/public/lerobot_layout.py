"""Where a LeRobot data set, v3.0 or v2.1, keeps instructions, tables and videos.

Layouts: https://huggingface.co/docs/lerobot/lerobot-dataset-v3, and for v2.1 the same page's section on
migration. Tables are small; videos are opened when a frame is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vlm4vla.artefacts import UserError

VERSIONS = ("v3.0", "v2.1")


class LeRobotLayout:
    """`camera`: the feature that the pictures are of, "" for the first. Raises UserError for another layout,
    for a file that is missing, and for a camera that there is not."""

    def __init__(self, folder: Path, camera: str):
        self.folder = folder
        self.info = _json(folder / "meta" / "info.json")
        self.version = self.info.get("codebase_version")
        if self.version not in VERSIONS:
            raise UserError(
                f"{folder}/meta/info.json: codebase_version is {self.version!r}: write a LeRobot data set of "
                f"{' or '.join(VERSIONS)}"
            )
        features: Mapping[str, Any] = self.info.get("features", {})
        cameras = [name for name, one in features.items() if one.get("dtype") in ("image", "video")]
        self.camera = camera or (cameras[0] if cameras else "")
        if self.camera not in cameras:
            raise UserError(
                f"{folder}/meta/info.json: no camera {self.camera!r}: write one as columns.picture (found: "
                f"{', '.join(cameras) or 'none'})"
            )
        self.features = features
        self.in_video = features[self.camera]["dtype"] == "video"
        self.fps = float(self.info.get("fps") or 1)
        self.tables = sorted(folder.glob("data/*/*.parquet"))
        if not self.tables:
            raise UserError(f"{folder}/data: no parquet file: write a LeRobot data set there")
        self.tasks = self._tasks()
        self._starts = self._video_starts() if self.in_video and self.version == "v3.0" else {}

    def _tasks(self) -> dict[int, str]:
        """The instruction of each task_index."""
        if self.version == "v2.1":
            lines = _lines(self.folder / "meta" / "tasks.jsonl")
            return {int(line["task_index"]): str(line["task"]) for line in lines}
        table = _table(self.folder / "meta" / "tasks.parquet")
        names = [name for name in ("task", "__index_level_0__") if name in table.column_names]
        if not names or "task_index" not in table.column_names:
            raise UserError(f"{self.folder}/meta/tasks.parquet: needs the columns 'task' and 'task_index'")
        return dict(zip(table["task_index"].to_pylist(), table[names[0]].to_pylist(), strict=True))

    def _video_starts(self) -> dict[int, tuple[str, float]]:
        """The video file of each episode and when in it the episode begins, seconds."""
        prefix = f"videos/{self.camera}"
        columns = [
            "episode_index",
            *(f"{prefix}/{n}" for n in ("chunk_index", "file_index", "from_timestamp")),
        ]
        found = {}
        for file in sorted(self.folder.glob("meta/episodes/*/*.parquet")):
            table = _table(file)
            for name in columns:
                if name not in table.column_names:
                    raise UserError(f"{file}: column {name!r} is missing: write the data set anew")
            for episode, chunk, number, start in zip(*(table[n].to_pylist() for n in columns), strict=True):
                path = self.info["video_path"].format(
                    video_key=self.camera, chunk_index=chunk, file_index=number
                )
                found[episode] = (path, float(start))
        return found

    def video(self, episode: int) -> tuple[str, float]:
        """An episode's video file, below the folder, and when in it the episode begins, seconds."""
        if self.version == "v3.0":
            if episode not in self._starts:
                raise UserError(f"{self.folder}/meta/episodes: episode {episode} is missing: write it anew")
            return self._starts[episode]
        chunk = episode // int(self.info.get("chunks_size") or 1000)
        path = self.info["video_path"].format(
            video_key=self.camera, episode_chunk=chunk, episode_index=episode
        )
        return path, 0.0


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write a LeRobot data set there") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}): write the data set anew") from None


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): write the data set anew") from None


def _table(path: Path):
    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these
        raise UserError(f"{path}: cannot be read ({error}): write the data set anew") from None
