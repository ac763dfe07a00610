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

    elevation: float = 55.0
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


STUDIO = 0.5  # share of pre-training pictures that are taken in the plain studio


def studio(rng: np.random.Generator) -> Look:
    """A plain grey table under an even light: product photographs, from which things are learnt first."""
    grey = (0.50, 0.50, 0.50)
    look = Look(table=grey, floor=(0.25, 0.25, 0.25), fixture=(0.36, 0.32, 0.28))
    return jitter_camera(look, rng, 2.0, 0.02)


def internet(rng: np.random.Generator) -> Look:
    """A random look for pre-training pictures: the studio, or wide ranges of camera, light and texture."""
    if rng.random() < STUDIO:
        return studio(rng)

    def grey_ish(low: float, high: float, spread: float) -> tuple[float, float, float]:
        base = rng.uniform(low, high)
        return tuple(float(c) for c in np.clip(base + rng.uniform(-spread, spread, 3), 0.03, 1.0))

    return Look(
        camera=Camera(
            elevation=rng.uniform(49, 65),
            azimuth=90 + rng.uniform(-8, 8),
            distance=rng.uniform(0.74, 0.86),
            field_of_view=rng.uniform(37, 41),
            target=(rng.uniform(-0.03, 0.03), rng.uniform(-0.02, 0.05), 0.0),
        ),
        table=grey_ish(0.3, 0.9, 0.08),
        table_material=str(rng.choice(MATERIALS)),
        floor=grey_ish(0.1, 0.8, 0.08),
        floor_material=str(rng.choice(MATERIALS)),
        fixture=grey_ish(0.2, 0.8, 0.2),
        handle=grey_ish(0.05, 0.9, 0.1),
        hand=grey_ish(0.1, 0.7, 0.08),
        light=rng.uniform(0.4, 0.8),
        light_at=(rng.uniform(-0.6, 0.6), rng.uniform(-0.8, 0.2), 1.5),
        shade=rng.uniform(0.75, 1.1),
        tint=tuple(float(c) for c in rng.uniform(-0.05, 0.05, 3)),
        noise=rng.uniform(0.0, 0.012),
        gain=rng.uniform(0.85, 1.15),
    )
