"""Films of episodes: looped GIFs in the folder `videos` beside the records of a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vlm4vla.core.artefacts import atomic_path

VIDEOS = "videos"
FILMS = "episode*.gif"  # not those that a killed process has not finished, whose names begin with a dot


def film_path(folder: Path, number: int) -> Path:
    """The film of the episode `number` of the rollout in `folder`."""
    return folder / VIDEOS / f"episode{number:04d}.gif"


def film_number(film: Path) -> int:
    """The number of the episode of a film."""
    return int(film.stem.removeprefix("episode"))


def write_film(path: Path, frames: Sequence[np.ndarray], milliseconds: int, zoom: int = 1) -> None:
    """Write `frames` (H, W, 3) uint8 as a GIF in which each takes `milliseconds`, enlarged by `zoom`."""
    images = [
        Image.fromarray(frame).resize(
            (frame.shape[1] * zoom, frame.shape[0] * zoom), Image.Resampling.NEAREST
        )
        for frame in frames
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=milliseconds,
            loop=0,
        )
