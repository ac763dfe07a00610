"""Rotations as data sets and simulators write them.

Not obvious: MuJoCo, SAPIEN and transforms3d put a quaternion's real part first, robosuite's observations,
PyBullet and scipy put it last; and q and -q are one rotation but not one axis-angle (robosuite keeps q's
sign, so its angles go up to 2 pi; most others take the shorter way).
"""

from __future__ import annotations

import numpy as np

SMALL = 1e-8


def real_last(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) w, x, y, z to x, y, z, w."""
    return np.concatenate([quaternions[..., 1:], quaternions[..., :1]], axis=-1)


def real_first(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, z, w to w, x, y, z."""
    return np.concatenate([quaternions[..., 3:], quaternions[..., :3]], axis=-1)


def axis_angle(quaternions: np.ndarray, *, shortest: bool) -> np.ndarray:
    """Axis times angle in radians (..., 3) of unit quaternions (..., 4) x, y, z, w.

    `shortest`: angles up to pi; else the quaternion's own sign is kept and angles go up to 2 pi, as robosuite
    and the policies trained on its states have it.
    """
    q = np.asarray(quaternions, dtype=np.float64)
    if shortest:
        q = np.where(q[..., 3:] < 0, -q, q)
    real = np.clip(q[..., 3:], -1, 1)
    length = np.sqrt(1 - real**2)
    still = length < SMALL
    return np.where(still, 0, q[..., :3] * 2 * np.arccos(real) / np.where(still, 1, length))


def rotation_vectors(euler: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) of roll, pitch, yaw (..., 3) about fixed axes x, y, z, in radians."""
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
    return axis_angle(quaternion, shortest=True)
