"""One table of a dataset with consecutive episodes, and its video. Both files appear only when complete."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.data.lerobot.description import DATA_PATH, VIDEO_PATH, path_fields
from vlm4vla.data.lerobot.reader import IMAGE
from vlm4vla.data.pictures.png import encode
from vlm4vla.data.pictures.video import VideoWriter

EPISODES_PER_GROUP = 32  # episodes per row group; this limits the writer's memory
COMPRESSION = "zstd"  # of the tables
# Frames are stored as differences of neighbours only if these take less than this share of the space, because
# decoding them takes longer.
WORTHWHILE = 0.9


def smaller_as_differences(images: np.ndarray) -> bool:
    """Whether a compressed table of the frames (T, H, W, 3) is smaller with differences of neighbours."""
    plain, differences = (
        len(pa.compress(b"".join(encode(image, differences=each) for image in images), codec=COMPRESSION))
        for each in (False, True)
    )
    return differences < WORTHWHILE * plain


class _Abandoned(BaseException):
    """Leaves the contexts of the files as an error does, without being one."""


class EpisodeFile:
    """Writes file `number` of the dataset in `folder`.

    With `video`, images go to a video instead of the table. `size` and `fps`: see `LeRobotWriter`.
    """

    def __init__(self, folder: Path, number: int, schema: pa.Schema, *, video: bool, size: int, fps: float):
        self.path_fields = path_fields(number)
        self.episodes = 0
        self._schema = schema
        self._fps = fps
        self._waiting: list[pa.Table] = []
        self._differences: bool | None = None  # decided by the first episode
        self._undo = ExitStack()
        self._table = self._undo.enter_context(atomic_path(folder / DATA_PATH.format(**self.path_fields)))
        self._file = pq.ParquetWriter(self._table, schema, compression=COMPRESSION)
        self._video = None
        if video:
            path = folder / VIDEO_PATH.format(video_key=IMAGE, **self.path_fields)
            self._video = VideoWriter(self._undo.enter_context(atomic_path(path)), size=size, fps=fps)

    def add(self, images: np.ndarray, numbers: dict[str, np.ndarray], first: int) -> dict[str, float | int]:
        """Append an episode whose first frame is frame `first` of the dataset.

        Returns the location of the episode as columns of meta/episodes.
        """
        self._waiting.append(self._rows(images, numbers, first))
        self.episodes += 1
        if len(self._waiting) == EPISODES_PER_GROUP:
            self._flush()
        location: dict[str, float | int] = {f"data/{key}": value for key, value in self.path_fields.items()}
        if self._video is not None:
            start = self._video.frames
            self._video.add(images)
            times = {"from_timestamp": start / self._fps, "to_timestamp": self._video.frames / self._fps}
            location |= {f"videos/{IMAGE}/{key}": value for key, value in (self.path_fields | times).items()}
        return location

    def close(self) -> None:
        """Give the files their final names. The video comes first, because a table needs its video."""
        with self._undo:
            self._flush()
            self._file.close()
            if self._video is not None:
                self._video.close()

    def abandon(self) -> None:
        """Delete the unfinished files."""
        with contextlib.suppress(_Abandoned), self._undo:
            for file in (self._file, self._video):
                with contextlib.suppress(Exception):  # on a full disk they cannot be completed
                    if file is not None:
                        file.close()
            raise _Abandoned

    def _rows(self, images: np.ndarray, numbers: dict[str, np.ndarray], first: int) -> pa.Table:
        columns = {"index": pa.array(first + np.arange(len(images)))}
        if self._video is None:
            if self._differences is None:
                self._differences = smaller_as_differences(images)
            encoded = [
                {"bytes": encode(image, differences=self._differences), "path": None} for image in images
            ]
            columns[IMAGE] = pa.array(encoded, self._schema.field(IMAGE).type)
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
