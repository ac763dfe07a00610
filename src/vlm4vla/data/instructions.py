"""The rule that decides what an instruction is. All readers and converters of demonstrations use it.

An instruction is a text with at least one visible character. Episodes without an instruction are left out:
a policy that is trained on them learns to act without being told what to do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Characters without a picture of their own, by category: separators, controls, formats, combining marks.
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Cn", "Mn", "Me")
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # blank letters of Hangul, and Braille's blank
SPACES = "\u200b\u2060\ufeff"  # zero-width; `str.strip` leaves these, and a byte-order mark, in place


def instruction_text(value: Any) -> str | None:
    """Return the instruction in `value` without surrounding spaces, or None if there is none.

    Text is an instruction if it has a visible character. Also the words "None" and "nan" are text. Bytes are
    read as UTF-8. A list or an array that contains one instruction, as in CALVIN's embeddings.npy, stands for
    this instruction; blank and repeated entries do not count. Null, NaN, numbers, mappings and text that is
    not Unicode are no instruction. Raises ValueError for several different instructions: each would train
    another policy, and the data does not say which of them was meant.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        found = list(dict.fromkeys(text for each in value if (text := instruction_text(each)) is not None))
        if len(found) > 1:
            raise ValueError(f"{len(found)} different instructions {found[:3]}, where one is needed")
        return found[0] if found else None
    if isinstance(value, (bytes, bytearray)):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    if not isinstance(value, str) or not any(map(_is_visible, value)) or not _is_unicode(value):
        return None
    stripped = value.strip()
    while stripped != (shorter := stripped.strip(SPACES).strip()):
        stripped = shorter
    return str(stripped)


def _is_unicode(text: str) -> bool:
    """Whether files can hold the text: JSON can spell halves of a character, which UTF-8 cannot."""
    return not any(unicodedata.category(character) == "Cs" for character in text)


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in INVISIBLE and character not in FILLERS


def drop_blank_tasks(tasks: Sequence[str | None], index: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the instructions among `tasks`, and `index` (N,) with the new numbers of these instructions.

    `index`: the task of each frame. Each of these tasks must have an instruction.
    """
    has_text = np.array([text is not None for text in tasks])
    numbers = np.cumsum(has_text) - 1
    return [text for text in tasks if text is not None], numbers[index]


@dataclass(frozen=True)
class LeftOut:
    """The number of episodes, and of their frames, that were left out because they have no instruction."""

    episodes: int = 0
    frames: int = 0

    @classmethod
    def of(cls, lengths: Iterable[int]) -> LeftOut:
        """Return the counts of episodes with the numbers of frames `lengths`."""
        lengths = [int(length) for length in lengths]
        return cls(len(lengths), sum(lengths))

    def __add__(self, other: LeftOut) -> LeftOut:
        return LeftOut(self.episodes + other.episodes, self.frames + other.frames)

    def __str__(self) -> str:
        episodes = "1 episode" if self.episodes == 1 else f"{self.episodes} episodes"
        frames = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        return f"{episodes} ({frames})"

    def sentence(self) -> str:
        """Return the counts as a message."""
        return f"left out {self} without an instruction"

    def record(self) -> dict[str, int]:
        """Return the counts as JSON, for provenance.json."""
        return {"episodes": self.episodes, "frames": self.frames}
