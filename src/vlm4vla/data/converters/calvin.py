"""Raw CALVIN (https://github.com/mees/calvin, dataset/README.md) as LeRobot v3.0.

A split is a folder of episode_XXXXXXX.npz, one a step of play at 30 Hz, and of
lang_annotations/auto_lang_ann.npy, which says which steps an instruction describes. Each annotated stretch
becomes an episode: pictures of the static camera, relative actions as they are (already divided by CALVIN's
scale, within [-1, 1]; gripper 1 opens, -1 closes), and robot_obs as the state.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.converters.episode import Episode
from vlm4vla.data.converters.plain_pickle import read_object_npy

FPS = 30
ANNOTATIONS = Path("lang_annotations", "auto_lang_ann.npy")
STATE_NAMES = (
    *("x", "y", "z", "roll", "pitch", "yaw", "gripper_opening"),
    *(f"joint_{number}" for number in range(1, 8)),
    "gripper_command",
)
READERS = 4  # threads: unpacking a step releases the interpreter
KEYS = {"rgb_static": None, "rel_actions": (7,), "robot_obs": (len(STATE_NAMES),)}


@dataclass(frozen=True)
class Stretch:
    """Steps `first` to `last`, both of them in, that `instruction` describes."""

    first: int
    last: int
    instruction: str


class Calvin:
    """The annotated stretches of a split. Raises UserError for a folder that is none."""

    robot_type, fps, state_names = "franka-panda", FPS, STATE_NAMES

    def __init__(self, source: Path):
        nested = source / "training"
        self.folder = nested if nested.is_dir() else source
        self._stretches = stretches(self.folder)
        self.image_size = self._step(self._stretches[0].first)["rgb_static"].shape[0]

    def __len__(self) -> int:
        return len(self._stretches)

    def identity(self) -> dict[str, Any]:
        """What tells this split from another."""
        last = self._stretches[-1]
        return {"calvin": str(self.folder.resolve()), "episodes": len(self), "last": [last.first, last.last]}

    def episodes(self, begin: int) -> Iterator[Episode]:
        """Episodes from number `begin` on. UserError for a step that is missing or broken."""
        with ThreadPoolExecutor(READERS) as pool:
            for stretch in self._stretches[begin:]:
                steps = list(pool.map(self._step, range(stretch.first, stretch.last + 1)))
                images, actions, states = (np.stack([step[key] for step in steps]) for key in KEYS)
                where = f"{self._path(stretch.first)} to {self._path(stretch.last).name}"
                yield Episode(images, states, actions, stretch.instruction, where)

    def _path(self, number: int) -> Path:
        return self.folder / f"episode_{number:07d}.npz"

    def _step(self, number: int) -> dict[str, np.ndarray]:
        path = self._path(number)
        try:
            with np.load(path, allow_pickle=False) as file:
                step = {key: file[key] for key in KEYS}
        except FileNotFoundError:
            raise UserError(f"{path}: not found: copy the whole split") from None
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a whole step of CALVIN ({error}): copy the split again") from None
        for key, shape in KEYS.items():
            if shape is not None and step[key].shape != shape:
                raise UserError(f"{path}: {key} has shape {step[key].shape}, not {shape}: is this CALVIN's?")
        return step


def stretches(folder: Path) -> list[Stretch]:
    """The annotated stretches of a split, in the order of its annotations. UserError when there are none."""
    path = folder / ANNOTATIONS
    content = read_object_npy(path)
    try:
        texts, bounds = content["language"]["ann"], content["info"]["indx"]
        found = [
            Stretch(int(first), int(last), str(text))
            for (first, last), text in zip(bounds, texts, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: needs language.ann and info.indx, one of each an instruction ({error!r}): take the "
            "published file"
        ) from None
    if not found or any(stretch.last < stretch.first for stretch in found):
        raise UserError(
            f"{path}: has no instruction, or one that ends before it begins: take the published file"
        )
    return found
