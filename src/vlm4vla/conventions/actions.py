"""The action vector of every benchmark: 7 numbers, six for the end effector and one for the gripper.

The first six are relative motion (x, y, z, roll, pitch, yaw). The gripper's polarity differs between
benchmarks. A wrong polarity is the most common silent error of a policy server, so all code uses `Gripper`.
"""

from __future__ import annotations

from dataclasses import dataclass

ACTION_SIZE = 7
POSE_SIZE = 6
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


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
