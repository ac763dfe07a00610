"""The films that rollouts saved with their records, and how the filmed episodes ended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from vlm4vla.conventions.episodes import SEPARATOR
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.data.parquet import PARQUET_FAULTS
from vlm4vla.data.pictures.decoding import check_size
from vlm4vla.evaluation.films import FILMS, VIDEOS

_NAME = re.compile(r"episode(\d+)\.gif")
_COLUMNS = [
    "model",
    "auxiliary",
    "variant",
    "benchmark",
    "seed",
    "episode",
    "instruction",
    "success",
    "solved",
]


@dataclass(frozen=True)
class Film:
    """One filmed episode. `instructions` are one or a chain; the first `solved` of them were solved."""

    path: Path
    model: str
    auxiliary: str
    variant: str
    benchmark: str
    seed: int
    episode: int
    instructions: tuple[str, ...]
    success: bool
    solved: int

    @property
    def failed_at(self) -> str:
        """The instruction that was not solved; for a success, the last instruction."""
        return self.instructions[min(self.solved, len(self.instructions) - 1)]


def read_films(episodes: Iterable[Path]) -> list[Film]:
    """The films, if any, in the folder of each episodes.parquet.

    They are in the order of `episodes`, then of the episode numbers. Raises UserError for records that cannot
    be read, and for a film of an episode that is not in the records.
    """
    films = []
    for path in map(Path, episodes):
        saved = {
            int(match[1]): film
            for film in sorted((path.parent / VIDEOS).glob(FILMS))
            if (match := _NAME.fullmatch(film.name))
        }
        if not saved:
            continue
        try:
            rows = {row["episode"]: row for row in pq.read_table(path, columns=_COLUMNS).to_pylist()}
        except PARQUET_FAULTS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{path}: unreadable ({reason}): delete it and roll out again") from None
        for number, film in sorted(saved.items()):
            if number not in rows:
                raise UserError(f"{film}: {path.name} has no episode {number}: delete the film")
            row = rows[number]
            instructions = tuple(row.pop("instruction").split(SEPARATOR))
            films.append(Film(path=film, instructions=instructions, **row))
    return films


def frames_of(path: Path, count: int) -> list[tuple[float, np.ndarray]]:
    """`count` frames at equal intervals over the film's duration, including the first and the last frame.

    Each is (second at which the frame appears, (H, W, 3) uint8). The list is shorter if the film has fewer
    frames. Raises UserError.
    """
    starts, frames, clock = [], [], 0.0
    try:
        with Image.open(path) as film:
            check_size(*film.size)
            for index in range(getattr(film, "n_frames", 1)):
                film.seek(index)
                starts.append(clock)
                frames.append(np.asarray(film.convert("RGB")))
                # A GIF stores equal neighbours as one frame that lasts longer.
                clock += film.info.get("duration", 0) / 1000
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise UserError(
            f"{path}: not a film ({one_line(str(error))}): delete the rollout and run it again"
        ) from None
    wanted = np.linspace(0, starts[-1], count)
    chosen = sorted(set(np.searchsorted(starts, wanted + 1e-9, side="right") - 1))
    return [(starts[index], frames[index]) for index in chosen]
