"""Where a LeRobot data set keeps instructions, tables and one camera's pictures."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.metadata import read_metadata


class LeRobotLayout:
    """`camera`: the feature that the pictures are of, "" for the first. Raises UserError for another layout,
    for a file that is missing, and for a camera that there is not."""

    def __init__(self, folder: Path, camera: str):
        self.folder = folder
        described = read_metadata(folder)
        cameras = described.cameras()
        self.camera = camera or (cameras[0] if cameras else "")
        if self.camera not in cameras:
            raise UserError(
                f"{folder}/meta/info.json: no camera {self.camera!r}: write one as columns.picture (found: "
                f"{', '.join(cameras) or 'none'})"
            )
        self.features = described.features
        self.in_video = described.is_video(self.camera)
        self.fps = described.fps
        self.tables = described.tables()
        self.tasks = dict(enumerate(described.tasks))
        self._videos = described.videos(self.camera) if self.in_video else None
        self._place = {int(episode): place for place, episode in enumerate(described.episodes.index)}

    def video(self, episode: int) -> tuple[str, float]:
        """An episode's video file, below the folder, and when in it the episode begins, seconds."""
        if episode not in self._place:
            raise UserError(f"{self.folder}/meta: episode {episode} is missing: write the data set anew")
        place = self._place[episode]
        return self._videos.names[self._videos.file[place]], float(self._videos.start[place])
