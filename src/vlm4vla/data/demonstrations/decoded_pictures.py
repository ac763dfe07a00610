"""Decoded frames of videos, kept on disk between the epochs and the trainings that read one index.

To decode a frame at random costs several times what it costs to resize it. Trainings read each frame of a
dataset many times, and all policies of a benchmark read the same frames. So each frame is decoded once, and
its pixels are kept in a hidden file in the index's folder. The file is a cache: it is not part of the study,
it can be deleted at any time, and the images do not depend on it. Its size is limited (`KEPT_GB`). The
frames beyond the limit are decoded at each reading.

All processes share the file. A record has a checksum, because a disk may lose a part of a record when the
power fails, and because machines that share a disk may see a record that is not complete.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import zlib
from pathlib import Path

import numpy as np

from vlm4vla.core.errors import UserError

FOLDER = ".decoded"
KEPT_GB = "VLM4VLA_DECODED_GB"  # environment variable: the most GB of decoded frames of one index
SHARE = 0.1  # of the disk's free space, without the variable
HEAD = 8  # bytes before the pixels: a mark and the checksum
MARK = b"RGB1"
BLOCK = 4096  # bytes; records begin at the blocks of a disk, so that no two records share one
_NAME = re.compile(r"[0-9a-f]{16}-(\d+)x(\d+)-(\d+)\.rgb")


def most_bytes(folder: Path) -> float:
    """Return how many bytes of decoded frames an index in `folder` may keep.

    Raises UserError for an invalid VLM4VLA_DECODED_GB.
    """
    configured = os.environ.get(KEPT_GB)
    if configured is None:
        return SHARE * shutil.disk_usage(folder).free
    try:
        size = float(configured)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise UserError(f"{KEPT_GB}: {configured!r} is not a number of GB: write 0 or more")
    return size * 1e9


class DecodedPictures:
    """The kept frames of one index: `get` returns a frame, and `keep` stores one.

    `folder`: of the index. `identity`: text that changes when a video or the index changes. `count`: the
    number of frames of the index. A disk that cannot be written keeps nothing.
    """

    def __init__(self, folder: Path, identity: str, count: int):
        self._folder = folder / FOLDER
        self._key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._count = count
        self._most = most_bytes(folder)
        self._file: int | None = None
        self._shape = (0, 0, 3)
        self._rows = 0
        self._writes = self._most > 0
        if self._writes:
            self._open()

    def wants(self, row: int) -> bool:
        """Return whether the frame `row` can be kept and is not kept yet."""
        if not self._writes or (self._file is not None and row >= self._rows):
            return False
        return self._file is None or os.pread(self._file, len(MARK), row * self._stride) != MARK

    def get(self, row: int) -> np.ndarray | None:
        """Return a kept frame, (H, W, 3) uint8, or None."""
        if self._file is None or row >= self._rows:
            return None
        head, pixels = bytearray(HEAD), np.empty(self._shape, dtype=np.uint8)
        try:
            read = os.preadv(self._file, [head, pixels], row * self._stride)
        except OSError:
            return None
        whole = read == HEAD + pixels.nbytes and head[: len(MARK)] == MARK
        return pixels if whole and head[len(MARK) :] == _checksum(pixels, row) else None

    def keep(self, row: int, picture: np.ndarray) -> None:
        """Store a frame (H, W, 3) uint8, unless there is no room, or it has another size than the others."""
        if self._writes and self._file is None:
            self._create(picture.shape)
        if not self._writes or row >= self._rows or picture.shape != self._shape:
            return
        pixels = np.ascontiguousarray(picture)
        try:
            os.pwritev(self._file, [MARK + _checksum(pixels, row), pixels], row * self._stride)
        except OSError:  # a full or broken disk
            self._writes = False

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._writes = None, False

    @property
    def _stride(self) -> int:
        return -(-(HEAD + math.prod(self._shape)) // BLOCK) * BLOCK

    def _create(self, shape: tuple[int, ...]) -> None:
        """Make the file for frames of `shape`, and remove the files of earlier videos or indexes."""
        self._shape = (shape[0], shape[1], 3)
        rows = min(int(self._most // self._stride), self._count)
        try:
            self._folder.mkdir(exist_ok=True)
            for file in self._folder.glob("*.rgb"):
                if not file.name.startswith(self._key):
                    file.unlink(missing_ok=True)
            (self._folder / f"{self._key}-{shape[0]}x{shape[1]}-{rows}.rgb").touch()
        except OSError:
            self._writes = False
        self._open()
        self._writes = self._writes and self._file is not None

    def _open(self) -> None:
        """Open the file of this index, if there is one. Of several processes, each takes the same one."""
        files = sorted(self._folder.glob(f"{self._key}-*.rgb"))
        found = _NAME.fullmatch(files[0].name) if files else None
        if found is None:
            return
        height, width, rows = map(int, found.groups())
        try:
            self._file = os.open(files[0], os.O_RDWR)
        except OSError:  # a disk that is read only: others may have filled the file
            self._writes = False
            try:
                self._file = os.open(files[0], os.O_RDONLY)
            except OSError:
                return
        self._shape = (height, width, 3)
        self._rows = min(rows, int(self._most // self._stride))


def _checksum(pixels: np.ndarray, row: int) -> bytes:
    return zlib.crc32(pixels, row).to_bytes(4, "little")
