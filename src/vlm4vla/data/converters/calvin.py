"""Read the raw CALVIN dataset (https://github.com/mees/calvin, dataset/README.md).

A split is a folder with one file episode_XXXXXXX.npz per step of play at 30 Hz, and with
lang_annotations/auto_lang_ann.npy, which assigns instructions to ranges of steps. Each range with an
instruction becomes an episode: the images of the static camera, the relative actions without change (CALVIN
has already divided them by its scale, to [-1, 1]; gripper 1 opens and -1 closes), and robot_obs as the state.
"""

from __future__ import annotations

import math
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import CALVIN
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.core.inside import outside
from vlm4vla.data.converters.plain_pickle import LONGEST_REASON, read_object_npy
from vlm4vla.data.converters.source import RawSource, SourceEpisode
from vlm4vla.data.instructions import LeftOut, instruction_text
from vlm4vla.data.pictures.decoding import MOST_PIXELS

FPS = 30
ANNOTATIONS = Path("lang_annotations", "auto_lang_ann.npy")
STATE_NAMES = (
    *("x", "y", "z", "roll", "pitch", "yaw", "gripper_opening"),
    *(f"joint_{number}" for number in range(1, 8)),
    "gripper_command",
)
READERS = 4  # threads; decompressing a step releases the interpreter lock
MOST_STEPS = 10_000  # of one range; they are in memory at once, and CALVIN's ranges have a few dozen
KEYS = {"rgb_static": None, "rel_actions": (7,), "robot_obs": (len(STATE_NAMES),)}


@dataclass(frozen=True)
class AnnotatedRange:
    """The steps from `first` to `last`, inclusive, that `instruction` describes."""

    first: int
    last: int
    instruction: str


class CalvinSource(RawSource):
    """The annotated ranges of a CALVIN split, in a folder or in its subfolder `training`."""

    robot_type, fps, state_names = "franka-panda", FPS, STATE_NAMES

    def __init__(self, path: Path):
        nested = path / "training"
        self.folder = nested if nested.is_dir() else path
        self._ranges, self._blank = read_ranges(self.folder)
        self.image_size = self._step(self._ranges[0].first)["rgb_static"].shape[0]

    def __len__(self) -> int:
        return len(self._ranges)

    def identity(self) -> dict[str, Any]:
        last = self._ranges[-1]
        return {
            CALVIN.raw_format: str(self.folder.resolve()),
            "episodes": len(self),
            "last": [last.first, last.last],
        }

    def without_instruction(self) -> dict[str, LeftOut]:
        return self._blank

    def episodes(self, begin: int) -> Iterator[SourceEpisode]:
        with ThreadPoolExecutor(READERS) as pool:
            for annotated in self._ranges[begin:]:
                steps = list(pool.map(self._step, range(annotated.first, annotated.last + 1)))
                self._check_sizes(steps, annotated)
                images, actions, states = (np.stack([step[key] for step in steps]) for key in KEYS)
                where = f"{self._path(annotated.first)} to {self._path(annotated.last).name}"
                yield SourceEpisode(images, states, actions, annotated.instruction, where)

    def _check_sizes(self, steps: list[dict[str, np.ndarray]], annotated: AnnotatedRange) -> None:
        shapes = [step["rgb_static"].shape for step in steps]
        for number, shape in enumerate(shapes, annotated.first):
            if shape != shapes[0]:
                raise UserError(
                    f"{self._path(number)}: rgb_static has the shape {shape}, but {shapes[0]} in "
                    f"{self._path(annotated.first).name}: copy the split again"
                )

    def _path(self, number: int) -> Path:
        return self.folder / f"episode_{number:07d}.npz"

    def _step(self, number: int) -> dict[str, np.ndarray]:
        path = self._path(number)
        if (problem := outside(self.folder, path.name)) is not None:
            raise UserError(f"{path}: {problem}")
        try:
            with zipfile.ZipFile(path) as file:
                step = {key: _array(file, key, shape) for key, shape in KEYS.items()}
        except FileNotFoundError:
            raise UserError(f"{path}: not found: copy the complete split") from None
        except _OtherShape as error:
            raise UserError(f"{path}: {error}: write the folder of CALVIN's raw dataset") from None
        except Exception as error:  # zipfile and NumPy raise errors of many types for damaged files
            reason = one_line(str(error))[:LONGEST_REASON] or type(error).__name__
            raise UserError(
                f"{path}: not a complete step of CALVIN ({reason}): copy the split again"
            ) from None
        return step


# NumPy parses a header with ast.literal_eval, which Python 3.11 does not allow in two threads at once: with a
# collection of garbage in between, it raises SystemError (AST constructor recursion depth mismatch).
_HEADERS = threading.Lock()


class _OtherShape(ValueError):
    """An array is not one of CALVIN's."""


def _array(file: zipfile.ZipFile, key: str, expected: tuple[int, ...] | None) -> np.ndarray:
    """An array of a .npz file: RGB bytes (H, W, 3), or numbers of the shape `expected`.

    `numpy.load` reserves memory for the shape that a file states, whatever it contains. Here the shape is
    checked first.
    """
    with file.open(f"{key}.npy") as member:
        first = np.lib.format.read_magic(member) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        with _HEADERS:
            shape, fortran, dtype = read(member)
        if expected is None:
            if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8 or not shape[0] * shape[1] > 0:
                raise _OtherShape(
                    f"{key} has the shape {shape} and the type {dtype}, not (H, W, 3) and uint8"
                )
            if shape[0] * shape[1] > MOST_PIXELS:
                raise _OtherShape(f"{key} has the shape {shape}, which is more than {MOST_PIXELS} pixels")
        elif shape != expected:
            raise _OtherShape(f"{key} has the shape {shape}, not {expected}")
        elif dtype.kind not in "fiu":
            raise _OtherShape(f"{key} has the type {dtype}, not numbers")
        size = math.prod(shape) * dtype.itemsize
        data = member.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{key} does not have {size} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_ranges(folder: Path) -> tuple[list[AnnotatedRange], dict[str, LeftOut]]:
    """Return the annotated ranges of a split, in the order of its annotations.

    Ranges without an instruction (data/instructions.py) are only counted; see `RawSource`. Raises UserError
    if no range is left, or if one is invalid.
    """
    path = folder / ANNOTATIONS
    if (problem := outside(folder, str(ANNOTATIONS))) is not None:
        raise UserError(f"{path}: {problem}")
    content = read_object_npy(path)
    try:
        texts, bounds = content["language"]["ann"], content["info"]["indx"]
        if not isinstance(texts, (list, tuple, np.ndarray)):
            raise TypeError(f"language.ann is a {type(texts).__name__}")
        pairs = [
            (_step_number(first), _step_number(last), text)
            for (first, last), text in zip(bounds, texts, strict=True)
        ]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        reason = one_line(repr(error))[:LONGEST_REASON]
        raise UserError(
            f"{path}: needs language.ann and info.indx, with one entry per instruction ({reason}): use the "
            "published file"
        ) from None
    found: list[AnnotatedRange] = []
    blank: dict[str, LeftOut] = {}
    for number, (first, last, value) in enumerate(pairs):
        where = f"{path}: annotation {number} (steps {first} to {last})"
        if last < first:
            raise UserError(f"{where}: the range ends before it begins: use the published file")
        if last - first >= MOST_STEPS:
            raise UserError(f"{where}: the range has more than {MOST_STEPS} steps: use the published file")
        try:
            text = instruction_text(value)
        except ValueError as error:
            raise UserError(f"{where}: has {error}: keep one of them") from None
        if text is None:
            blank[where] = LeftOut(1, last - first + 1)
        else:
            found.append(AnnotatedRange(first, last, text))
    if not found:
        raise UserError(f"{path}: has no instruction: use the published file")
    return found, blank


def _step_number(value: Any) -> int:
    """Return a whole number, which may be a float. Raises TypeError or ValueError for other values."""
    if not float(value).is_integer():
        raise ValueError(f"{value!r} is no number of a step")
    return int(value)
