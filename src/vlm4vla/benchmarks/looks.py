"""The appearance of a scene: camera, light, textures, shades of colour and camera noise.

A look changes images only, never physics. Each benchmark has its own looks. Each pre-training image has its
own random look (`internet_look`), drawn from wide ranges.

Frame: the table's top is z = 0, x points right in the image, y away from the camera. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

MATERIALS = ("plain", "checker", "fine-checker", "gradient", "speckle", "wood")


@dataclass(frozen=True)
class Camera:
    """A camera that looks at `target` from `distance` metres; angles and field of view in degrees."""

    elevation: float = 65.0
    azimuth: float = 90.0
    distance: float = 0.80
    field_of_view: float = 39.0
    target: tuple[float, float, float] = (0.0, 0.02, 0.0)


@dataclass(frozen=True)
class Look:
    """Camera, light and colours of a scene. Colours are RGB in 0..1.

    `shade` scales and `tint` shifts the colours of props. `noise` is the standard deviation of the camera's
    noise and `gain` its exposure, both for images in 0..1.
    """

    camera: Camera = Camera()
    table: tuple[float, float, float] = (0.72, 0.66, 0.58)
    table_material: str = "plain"
    floor: tuple[float, float, float] = (0.35, 0.37, 0.40)
    floor_material: str = "plain"
    fixture: tuple[float, float, float] = (0.55, 0.42, 0.30)
    handle: tuple[float, float, float] = (0.15, 0.15, 0.17)
    hand: tuple[float, float, float] = (0.22, 0.24, 0.28)
    light: float = 0.6
    light_at: tuple[float, float, float] = (0.2, -0.4, 1.5)
    shade: float = 1.0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 0.0
    gain: float = 1.0


def jitter_camera(look: Look, rng: np.random.Generator, degrees: float, share: float) -> Look:
    """Return the same look with the camera's angles changed by up to ±`degrees`, its distance by ±`share`."""
    camera = look.camera
    return replace(
        look,
        camera=replace(
            camera,
            elevation=camera.elevation + rng.uniform(-degrees, degrees),
            azimuth=camera.azimuth + rng.uniform(-degrees, degrees),
            distance=camera.distance * (1 + rng.uniform(-share, share)),
        ),
    )


def camera_pose(look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Return the position (3,) and the rotation (3, 3) of a look's camera.

    The columns of the rotation point right, up and backwards.
    """
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
    """Project points (n, 3) in metres to image coordinates (n, 2).

    The coordinates are column and row from the top left, as shares of the image's width and height.
    """
    position, rotation = camera_pose(look)
    local = (np.asarray(points) - position) @ rotation
    scale = np.tan(np.deg2rad(look.camera.field_of_view) / 2)
    flat = local[:, :2] / (-local[:, 2:] * scale)
    return np.stack([(flat[:, 0] + 1) / 2, (1 - flat[:, 1]) / 2], axis=1)


def internet_look(rng: np.random.Generator) -> Look:
    """Return a random look for pre-training images.

    Tables have many shades and are mostly plain. The camera differs from the benchmarks' cameras, and the
    light varies. The ranges are bounded because of a measurement (docs/decisions.md). After training on grey
    tables alone, a backbone recognises nothing on a benchmark's table. With strong colours and textures on
    every table, it learns no positions in the available training time.
    """

    def shade(low: float, high: float, spread: float) -> tuple[float, float, float]:
        base = rng.uniform(low, high)
        return tuple(float(c) for c in np.clip(base + rng.uniform(-spread, spread, 3), 0.03, 1.0))

    textured = rng.random() < 0.4
    return Look(
        camera=Camera(
            elevation=69 + rng.uniform(-3, 3),
            azimuth=90 + rng.uniform(-3, 3),
            distance=0.79 * (1 + rng.uniform(-0.03, 0.03)),
        ),
        table=shade(0.35, 0.75, 0.06),
        table_material=str(rng.choice(MATERIALS)) if textured else "plain",
        floor=shade(0.15, 0.55, 0.05),
        fixture=shade(0.25, 0.75, 0.12),
        handle=shade(0.05, 0.7, 0.08),
        hand=shade(0.15, 0.35, 0.04),
        light=rng.uniform(0.35, 0.65),
        noise=rng.uniform(0.0, 0.01),
        gain=rng.uniform(0.9, 1.1),
    )
