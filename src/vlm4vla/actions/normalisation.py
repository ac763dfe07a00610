"""Scaling of actions to [-1, 1] and back, from a data set's own statistics.

`range` scales by smallest and largest value (CALVIN), `quantile` by the 1st and 99th percentile (Bridge and
LIBERO), as in the study. Values outside are clipped. A dimension that never moves maps to 0 and back to its
constant.
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
STILL = 1e-6  # a dimension narrower than this (environment units) does not move


@dataclass(frozen=True)
class Statistics:
    """Bounds of the six pose dimensions and the gripper's convention.

    `low`, `high`: (6,) float32, environment units.
    """

    kind: str
    benchmark: str
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any], kind: str, benchmark: str) -> Statistics:
        """Take the bounds from a LeRobot stats.json (`stats["action"]`); UserError when they are missing."""
        if kind not in KEYS:
            raise UserError(f"normalisation: unknown kind {kind!r}: write one of {', '.join(KEYS)}")
        action = stats.get("action", {})
        bounds = []
        for key in KEYS[kind]:
            values = np.asarray(action.get(key, []), dtype=np.float32)
            if values.shape != (ACTION_SIZE,) or not np.isfinite(values).all():
                raise UserError(
                    f"meta/stats.json: action.{key} must be {ACTION_SIZE} finite numbers for normalisation "
                    f"{kind!r}, found shape {values.shape}: write the data set's statistics anew"
                )
            bounds.append(values[:POSE_SIZE])
        return cls(kind, benchmark, *bounds)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Statistics:
        """The inverse of `to_json`."""
        low, high = (np.asarray(record[key], dtype=np.float32) for key in ("low", "high"))
        return cls(record["kind"], record["benchmark"], low, high)

    def to_json(self) -> dict[str, Any]:
        """A record of JSON values for policy.json."""
        return {
            "kind": self.kind,
            "benchmark": self.benchmark,
            "low": [float(value) for value in self.low],
            "high": [float(value) for value in self.high],
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
        moving = 2 * half > STILL
        pose = (actions[..., :POSE_SIZE] - centre) / np.where(moving, half, 1)
        pose = np.where(moving, np.clip(pose, -1, 1), 0).astype(np.float32)
        return pose, (actions[..., POSE_SIZE] > self.gripper.middle).astype(np.float32)

    def denormalise(self, pose: np.ndarray, gripper_logit: np.ndarray) -> np.ndarray:
        """Pose (..., 6) in [-1, 1] and gripper logits (...) or (..., 1) to actions (..., 7), float32.

        A logit above 0 (probability above one half) commands the gripper's larger value.
        """
        centre, half = self._centre_and_half
        if gripper_logit.ndim == pose.ndim - 1:
            gripper_logit = gripper_logit[..., None]
        moving = 2 * half > STILL
        motion = centre + np.clip(pose, -1, 1) * np.where(moving, half, 0)
        command = np.where(gripper_logit > 0, self.gripper.high, self.gripper.low)
        return np.concatenate([motion, command], axis=-1).astype(np.float32)
