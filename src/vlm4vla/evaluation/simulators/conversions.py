"""Conversions between a policy and its simulator: actions, rotations and camera images.

Two pitfalls of rotations:

- The order of a quaternion. MuJoCo, SAPIEN and transforms3d write w, x, y, z. Observations of robosuite,
  PyBullet and SciPy write x, y, z, w.
- The sign of a quaternion. q and -q are the same rotation but give different axis-angle vectors. robosuite
  keeps the sign of q, so its angles go up to 2 pi. Most other software takes the shorter way, up to pi.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from vlm4vla.config.simulators import Simulator
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.data.pictures.files import resize

CONSECUTIVE = 2  # predictions of +1 in a row before +1 is sent, as in the study's released code
SMALL = 1e-8  # sine of half an angle that counts as no rotation


class ActionConverter:
    """Converts a policy's actions on `benchmark` (vlm4vla.conventions.actions) to actions of `simulator`."""

    def __init__(self, benchmark: str, simulator: Simulator):
        self._policy_gripper = gripper(benchmark)
        self._gripper = simulator.gripper
        self._convention = simulator.convention

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Convert (..., 7) to (..., 7) float32. Raises ValueError for another size, NaN and infinity."""
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape[-1:] != (ACTION_SIZE,):
            raise ValueError(f"an action has {ACTION_SIZE} numbers, the policy's have {actions.shape[-1:]}")
        if not np.isfinite(actions).all():
            raise ValueError("the policy's actions contain NaN or infinity")
        position, rotation = actions[..., :3], actions[..., 3:POSE_SIZE] * self._convention.radians
        if self._convention.rotation == "rotation-vector":
            rotation = euler_to_rotation_vector(rotation)
        command, policy = actions[..., POSE_SIZE:], self._policy_gripper
        opens = np.abs(command - policy.open) < np.abs(command - policy.close)
        sent = np.where(opens, self._gripper.open, self._gripper.close)
        parts = [position * self._convention.metres, rotation, sent]
        return np.concatenate(parts, axis=-1).astype(np.float32)


class GripperRule:
    """Decides which gripper commands are sent. Each session's commands must come in the order of execution.

    "sign": commands are sent unchanged. "two-in-a-row": +1 is sent only after `CONSECUTIVE` predictions of a
    positive command, and -1 otherwise.
    """

    def __init__(self, rule: Literal["sign", "two-in-a-row"]):
        self.rule = rule
        self._positive: Counter[str] = Counter()  # positive predictions in a row, by session

    def reset(self, session: str) -> None:
        """Forget the predictions of `session`: a new episode begins."""
        self._positive.pop(session, None)

    def __call__(self, session: str, actions: np.ndarray) -> np.ndarray:
        """Actions (T, 7) with the gripper commands to send. All T actions must be executed."""
        if self.rule == "sign":
            return actions
        sent = actions.copy()
        for action in sent:
            self._positive[session] = self._positive[session] + 1 if action[POSE_SIZE] > 0 else 0
            action[POSE_SIZE] = 1 if self._positive[session] >= CONSECUTIVE else -1
        return sent


def wxyz_to_xyzw(quaternions: np.ndarray) -> np.ndarray:
    """Reorder quaternions (..., 4) from w, x, y, z to x, y, z, w."""
    return np.concatenate([quaternions[..., 1:], quaternions[..., :1]], axis=-1)


def xyzw_to_wxyz(quaternions: np.ndarray) -> np.ndarray:
    """Reorder quaternions (..., 4) from x, y, z, w to w, x, y, z."""
    return np.concatenate([quaternions[..., 3:], quaternions[..., :3]], axis=-1)


def quaternion_to_axis_angle(quaternions: np.ndarray, *, shortest: bool) -> np.ndarray:
    """Axis times angle (..., 3), in radians, of unit quaternions (..., 4) in the order x, y, z, w.

    `shortest`: angles go up to pi. Otherwise the sign of the quaternion is kept and angles go up to 2 pi, as
    in robosuite and in policies that are trained on its states.
    """
    q = np.asarray(quaternions, dtype=np.float64)
    if shortest:
        q = np.where(q[..., 3:] < 0, -q, q)
    real = np.clip(q[..., 3:], -1, 1)
    length = np.sqrt(1 - real**2)
    zero = length < SMALL
    return np.where(zero, 0, q[..., :3] * 2 * np.arccos(real) / np.where(zero, 1, length))


def euler_to_rotation_vector(euler: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) of roll, pitch, yaw (..., 3) about the fixed axes x, y, z, in radians."""
    half = np.asarray(euler, dtype=np.float64) / 2
    (sr, sp, sy), (cr, cp, cy) = (np.moveaxis(f(half), -1, 0) for f in (np.sin, np.cos))
    quaternion = np.stack(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ],
        axis=-1,
    )
    return quaternion_to_axis_angle(quaternion, shortest=True)


def rotate_180(image: np.ndarray) -> np.ndarray:
    """Rotate an image (H, W, 3) by 180 degrees. robosuite renders images upside down and mirrored."""
    return np.ascontiguousarray(image[::-1, ::-1])


def fit_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize an image (H, W, 3) uint8 to (size, size, 3) uint8, as in training.

    Raises ValueError for another shape or type.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"an image must be (H, W, 3) uint8, the simulator's is {image.shape} {image.dtype}")
    return resize(image, size)
