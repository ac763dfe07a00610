"""Films of episodes on real simulators: the images that the policy saw, one for each of its plans."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from vlm4vla.evaluation.films import film_path, write_film

LARGEST = 256  # pixels of the longer side of a film
FRAME_MS = 100  # whatever the simulator's rate: a policy that plans often has longer films


class Filming:
    """Writes films of the episodes `numbers` to `folder`. An episode belongs to the session that plays it."""

    def __init__(self, folder: Path, numbers: Collection[int]):
        self.folder, self.numbers = folder, frozenset(numbers)
        self._running: dict[str, tuple[int, list[np.ndarray]]] = {}

    def begin(self, session: str, number: int) -> None:
        """The session starts an episode. What it had before did not end, and has no film."""
        self._running.pop(session, None)
        if number in self.numbers:
            self._running[session] = (number, [])

    def look(self, session: str, image: np.ndarray) -> None:
        """The policy of the session sees an image (H, W, 3) uint8."""
        if session in self._running:
            small = Image.fromarray(image)
            small.thumbnail((LARGEST, LARGEST))
            self._running[session][1].append(np.asarray(small))

    def end(self, session: str) -> None:
        """The session's episode is over. An episode of a single plan has no film."""
        number, frames = self._running.pop(session, (0, []))
        if len(frames) > 1:
            write_film(film_path(self.folder, number), frames, FRAME_MS)
