"""The action vector of every benchmark: 7 numbers, six for the end effector and one for the gripper.

The first six are relative motion (x, y, z, roll, pitch, yaw). The gripper's polarity differs between
benchmarks. A wrong polarity is the most common silent error of a policy server, so all code uses `Gripper`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ACTION_SIZE = 7
POSE_SIZE = 6
FAST_SYMBOLS = 0xD800 - 0x4E00  # characters from the first symbol of FAST to the first surrogate
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def largest_fast_coefficient(chunk: int, scale: float) -> int:
    """The largest rounded coefficient of FAST for chunks of `chunk` steps in [-1, 1] (actions/fast.py).

    In the orthonormal transform, a constant chunk of ones has it: the square root of `chunk`.
    """
    return round(scale * math.sqrt(chunk))


@dataclass(frozen=True)
class Gripper:
    """The two values of a benchmark's gripper command."""

    open: float
    close: float

    @property
    def low(self) -> float:
        """The smaller value; its training target is 0."""
        return min(self.open, self.close)

    @property
    def high(self) -> float:
        """The larger value; its training target is 1."""
        return max(self.open, self.close)

    @property
    def middle(self) -> float:
        """Commands above this value have training target 1."""
        return (self.open + self.close) / 2
