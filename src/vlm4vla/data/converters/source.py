"""The interface between the command `convert` and the raw datasets that it can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.data.instructions import LeftOut


@dataclass(frozen=True)
class SourceEpisode:
    """One episode of a raw dataset.

    `images`: (T, H, W, 3) uint8. `states`: (T, S). `actions`: (T, 7). `where`: the location of the episode in
    the source, for messages.
    """

    images: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    instruction: str
    where: str


class RawSource(ABC):
    """A raw dataset. `convert` opens one, compares its `identity` and then reads its `episodes` in order.

    `fps`: control rate in Hz. `state_names`: names of the S numbers of a state. `image_size`: height and
    width of the images in pixels. The constructor raises UserError if the path is not a dataset of this kind.
    """

    robot_type: str
    fps: int
    state_names: Sequence[str]
    image_size: int

    @abstractmethod
    def __init__(self, path: Path): ...

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of episodes."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return JSON values that distinguish this dataset from others; see `LeRobotWriter`."""

    def without_instruction(self) -> dict[str, LeftOut]:
        """Return the counts of the episodes without an instruction, which `episodes` does not yield.

        The keys are places in the source, as in `SourceEpisode.where`.
        """
        return {}

    def left_out(self) -> dict[str, str]:
        """Return what else is not converted: the name of a file or folder, and one phrase with numbers."""
        return {}

    @abstractmethod
    def episodes(self, begin: int) -> Iterator[SourceEpisode]:
        """Yield the episodes from number `begin` on. Raises UserError for a missing or damaged episode."""
