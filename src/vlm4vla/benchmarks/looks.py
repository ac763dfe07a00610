"""How a scene is seen: camera, light, textures, shades of colour, noise of the camera.

A look changes pictures only, never physics. Benchmarks have looks of their own; pre-training pictures
take `internet` looks, drawn anew for each picture from wide ranges.
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
    """Colours are RGB in 0..1. `shade` scales and `tint` shifts the colours of props; `noise` is the standard
    deviation of the camera's noise and `gain` its exposure (pictures in 0..1)."""

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
    """The same look from a camera that was bumped: angles by ±`degrees`, distance by ±`share`."""
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


def internet(rng: np.random.Generator) -> Look:
    """A random look for pre-training pictures: tables of many shades, most of them plain, seen from another
    camera than the benchmarks' under a light that varies.

    The ranges are bounded for a reason that was measured (docs/decisions.md): on grey tables alone a backbone
    recognises nothing on a benchmark's table, and with strong colours and textures on every table it learns
    no place in the time that there is.
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
