"""Demonstrations as their stage leaves them: recorded ones are read into memory, a data set is an index."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.data.demonstrations.frame_index import FrameIndex, is_index, open_index
from vlm4vla.data.lerobot.reader import Demonstrations, read


def open_demonstrations(folder: Path, *, images: bool = True) -> Demonstrations | FrameIndex:
    """The frames in `folder`. With `images=False` no picture is read (a cheap check).

    Raises UserError when they are not whole.
    """
    return open_index(folder) if is_index(folder) else read(folder, images=images)
