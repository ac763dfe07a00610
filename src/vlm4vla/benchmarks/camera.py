"""The camera of a look: where it stands, and where it sees a point.

Frame: the table's top is z = 0, x points right in the picture, y away from the camera. Lengths in metres.
"""

from __future__ import annotations

import numpy as np

from vlm4vla.benchmarks.looks import Look


def camera_pose(look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Camera position (3,) and rotation (3, 3), columns right, up, backwards, of a look."""
    camera = look.camera
    elevation, azimuth = np.deg2rad(camera.elevation), np.deg2rad(camera.azimuth)
    forward = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), -np.sin(elevation)]
    )
    position = np.asarray(camera.target) - camera.distance * forward
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return position, np.stack([right, np.cross(right, forward), -forward], axis=1)


def project(look: Look, points: np.ndarray) -> np.ndarray:
    """Points (n, 3) in metres to picture coordinates (n, 2): column and row in 0..1 from the top left."""
    position, rotation = camera_pose(look)
    local = (np.asarray(points) - position) @ rotation
    scale = np.tan(np.deg2rad(look.camera.field_of_view) / 2)
    flat = local[:, :2] / (-local[:, 2:] * scale)
    return np.stack([(flat[:, 0] + 1) / 2, (1 - flat[:, 1]) / 2], axis=1)
