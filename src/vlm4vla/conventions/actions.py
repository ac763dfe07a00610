"""What each benchmark's action vector means: 7 numbers, of which the last is the gripper.

The first six are relative end-effector motion (x, y, z, roll, pitch, yaw). The gripper's polarity differs
between benchmarks and is the most common silent fault of a policy server, so it stands here once.
"""

from __future__ import annotations

from dataclasses import dataclass

ACTION_SIZE = 7
POSE_SIZE = 6
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


@dataclass(frozen=True)
class Gripper:
    """The two values that a benchmark's gripper command takes."""

    open: float
    close: float

    @property
    def low(self) -> float:
        """The smaller value: training target 0."""
        return min(self.open, self.close)

    @property
    def high(self) -> float:
        """The larger value: training target 1."""
        return max(self.open, self.close)

    @property
    def middle(self) -> float:
        """The command above which the training target is 1."""
        return (self.open + self.close) / 2
