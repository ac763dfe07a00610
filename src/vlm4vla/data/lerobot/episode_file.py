"""One table of a data set, and its video, with whole episodes in a row; both appear whole or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.data.lerobot.description import DATA_PATH, VIDEO_PATH, place_of
from vlm4vla.data.lerobot.reader import IMAGE
from vlm4vla.data.pictures.png import encode
from vlm4vla.data.pictures.video_writer import VideoWriter

EPISODES_PER_GROUP = 32  # episodes a row group: bounds the writer's memory


class EpisodeFile:
    """File `number` of the data set in `folder`; with `video`, pictures go to a video, not to the table."""

    def __init__(self, folder: Path, number: int, schema: pa.Schema, *, video: bool, size: int, fps: float):
        self.place = place_of(number)
        self.episodes = 0
        self._schema = schema
        self._fps = fps
        self._waiting: list[pa.Table] = []
        self._undo = ExitStack()
        self._table = self._undo.enter_context(atomic_path(folder / DATA_PATH.format(**self.place)))
        self._file = pq.ParquetWriter(self._table, schema, compression="zstd")
        self._video = None
        if video:
            path = folder / VIDEO_PATH.format(video_key=IMAGE, **self.place)
            self._video = VideoWriter(self._undo.enter_context(atomic_path(path)), size=size, fps=fps)

    def add(self, images: np.ndarray, numbers: dict[str, np.ndarray], first: int) -> dict[str, float | int]:
        """Append an episode whose first frame is the data set's frame `first`; returns where it stands, as
        columns of meta/episodes."""
        self._waiting.append(self._rows(images, numbers, first))
        self.episodes += 1
        if len(self._waiting) == EPISODES_PER_GROUP:
            self._flush()
        place: dict[str, float | int] = {f"data/{key}": value for key, value in self.place.items()}
        if self._video is not None:
            start = self._video.frames
            self._video.add(images)
            times = {"from_timestamp": start / self._fps, "to_timestamp": self._video.frames / self._fps}
            place |= {f"videos/{IMAGE}/{key}": value for key, value in (self.place | times).items()}
        return place

    def close(self) -> None:
        """Put the files in place: the video first, since a table without its video is no data."""
        self._flush()
        self._file.close()
        if self._video is not None:
            self._video.close()
        self._undo.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        if self._video is not None:
            self._video.close()
        self._undo.__exit__(RuntimeError, RuntimeError("abandoned"), None)

    def _rows(self, images: np.ndarray, numbers: dict[str, np.ndarray], first: int) -> pa.Table:
        columns = {"index": pa.array(first + np.arange(len(images)))}
        if self._video is None:
            pictures = [{"bytes": encode(image), "path": None} for image in images]
            columns[IMAGE] = pa.array(pictures, self._schema.field(IMAGE).type)
        for name, values in numbers.items():
            if values.ndim == 2:
                columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            else:
                columns[name] = pa.array(values)
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._file.write_table(table, row_group_size=table.num_rows)
            self._waiting = []
