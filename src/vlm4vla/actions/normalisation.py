"""Normalisation of actions and robot states, with statistics from the dataset's LeRobot stats.json.

Actions are scaled to [-1, 1], as in the study: kind `range` uses the minimum and maximum (CALVIN), kind
`quantile` the 1st and 99th percentile (Bridge and LIBERO). Values outside the bounds are clipped. A dimension
that never moves is scaled to 0, and scaled back to the middle of its bounds. States are scaled to mean 0 and
standard deviation 1.

Scaled poses can be clipped to a `second` pair of bounds and scaled to [-1, 1] again, as the released code of
the study does on Bridge and LIBERO. A policy then predicts motions within these bounds only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE, Gripper
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.core.errors import UserError

KEYS = {"range": ("min", "max"), "quantile": ("q01", "q99")}
# A dimension is constant if its range (actions) or its standard deviation (states), in the dataset's units,
# is at most this. A constant dimension is not divided by its spread.
CONSTANT_SPREAD = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Bounds of the six pose dimensions, and the benchmark, which decides the gripper convention.

    `low`, `high`: (6,) float32, environment units. `second`: bounds in the scaled unit, or None.
    """

    kind: str
    benchmark: str
    low: np.ndarray
    high: np.ndarray
    second: tuple[float, float] | None = None

    @classmethod
    def from_stats(
        cls,
        stats: Mapping[str, Any],
        kind: str,
        benchmark: str,
        second: tuple[float, float] | None = None,
    ) -> Statistics:
        """Read the bounds from a LeRobot stats.json (`stats["action"]`); UserError if they are missing."""
        if kind not in KEYS:
            raise UserError(f"normalisation: unknown kind {kind!r}: write one of {', '.join(KEYS)}")
        action = stats.get("action", {})
        bounds = []
        for key in KEYS[kind]:
            values = np.asarray(action.get(key, []), dtype=np.float32)
            if values.shape != (ACTION_SIZE,) or not np.isfinite(values).all():
                raise UserError(
                    f"meta/stats.json: action.{key} must be {ACTION_SIZE} finite numbers for normalisation "
                    f"{kind!r}, found shape {values.shape}: recompute the dataset's statistics"
                )
            bounds.append(values[:POSE_SIZE])
        return cls(kind, benchmark, *bounds, second)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Statistics:
        """The inverse of `to_json`."""
        low, high = (np.asarray(record[key], dtype=np.float32) for key in ("low", "high"))
        second = record.get("second")
        return cls(record["kind"], record["benchmark"], low, high, tuple(second) if second else None)

    def to_json(self) -> dict[str, Any]:
        """JSON values for policy.json."""
        return {
            "kind": self.kind,
            "benchmark": self.benchmark,
            "low": [float(value) for value in self.low],
            "high": [float(value) for value in self.high],
            **({"second": list(self.second)} if self.second else {}),
        }

    @property
    def gripper(self) -> Gripper:
        return gripper(self.benchmark)

    @property
    def _centre_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        return (self.high + self.low) / 2, (self.high - self.low) / 2

    def normalise(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions (..., 7) in environment units to pose (..., 6) in [-1, 1] and gripper (...) in {0, 1}."""
        centre, half = self._centre_and_half
        moving = 2 * half > CONSTANT_SPREAD
        pose = (actions[..., :POSE_SIZE] - centre) / np.where(moving, half, 1)
        pose = np.where(moving, np.clip(pose, -1, 1), 0).astype(np.float32)
        if self.second:
            low, high = self.second
            pose = (2 * (np.clip(pose, low, high) - low) / (high - low) - 1).astype(np.float32)
        return pose, (actions[..., POSE_SIZE] > self.gripper.middle).astype(np.float32)

    def denormalise(self, pose: np.ndarray, gripper_logit: np.ndarray) -> np.ndarray:
        """Pose (..., 6) in [-1, 1] and gripper logits (...) or (..., 1) to actions (..., 7), float32.

        A logit above 0 (a probability above one half) gives the larger of the gripper's two commands.
        """
        centre, half = self._centre_and_half
        if gripper_logit.ndim == pose.ndim - 1:
            gripper_logit = gripper_logit[..., None]
        moving = 2 * half > CONSTANT_SPREAD
        pose = np.clip(pose, -1, 1)
        if self.second:
            low, high = self.second
            pose = low + (pose + 1) / 2 * (high - low)
        motion = centre + pose * np.where(moving, half, 0)
        command = np.where(gripper_logit > 0, self.gripper.high, self.gripper.low)
        return np.concatenate([motion, command], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class StateScale:
    """Mean and standard deviation of the robot's state: `mean`, `std` (S,) float32, in the state's units."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any]) -> StateScale:
        """Read `stats["observation.state"]` of a LeRobot stats.json; UserError if it is missing."""
        state = stats.get("observation.state", {})
        mean, std = (np.asarray(state.get(key, []), dtype=np.float32) for key in ("mean", "std"))
        if not mean.size or mean.shape != std.shape or not np.isfinite([mean, std]).all():
            raise UserError(
                "meta/stats.json: observation.state needs `mean` and `std` of equal length for a policy that "
                "reads the robot's state: recompute the dataset's statistics"
            )
        return cls(mean, std)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StateScale:
        """The inverse of `to_json`."""
        return cls(*(np.asarray(record[key], dtype=np.float32) for key in ("mean", "std")))

    def to_json(self) -> dict[str, Any]:
        """JSON values for policy.json."""
        return {"mean": [float(v) for v in self.mean], "std": [float(v) for v in self.std]}

    @property
    def size(self) -> int:
        """S, the number of values in a state."""
        return len(self.mean)

    def scale(self, states: np.ndarray) -> np.ndarray:
        """Scale states (..., S) to mean 0 and standard deviation 1, float32; only centre constant values."""
        return ((states - self.mean) / np.where(self.std > CONSTANT_SPREAD, self.std, 1)).astype(np.float32)
