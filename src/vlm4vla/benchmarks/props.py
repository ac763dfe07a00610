"""The catalogue of props, the things on the table: names, shapes, colours, and which ones can be held.

Lengths are in metres, colours are RGB in 0..1. Every prop consists of MuJoCo primitives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.10),
    "green": (0.15, 0.65, 0.20),
    "blue": (0.12, 0.25, 0.85),
    "yellow": (0.95, 0.85, 0.10),
    "pink": (0.95, 0.45, 0.70),
    "purple": (0.45, 0.12, 0.60),
    "orange": (0.98, 0.55, 0.08),
    "white": (0.95, 0.95, 0.95),
    "black": (0.10, 0.10, 0.10),
    "brown": (0.45, 0.28, 0.14),
    "gray": (0.50, 0.50, 0.52),
}


@dataclass(frozen=True)
class Part:
    """One primitive of a prop: MuJoCo geom type, half-sizes, position in the prop's frame, and colour.

    `colour` None stands for the prop's colour. `euler`: rotation in degrees.
    """

    kind: str
    size: tuple[float, ...]
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    colour: str | None = None
    euler: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Prop:
    """A named thing. `height` is the height of its centre when it lies on the table.

    A movable prop is a free body that the gripper can hold. Any other prop stays where the scene puts it.
    For such a prop, `surface` is the height at which other props come to rest on it, and `reach` is the
    largest distance from its centre that still counts as on it.
    """

    noun: str
    colour: str
    parts: tuple[Part, ...]
    height: float
    movable: bool = True
    surface: float = 0.0
    reach: float = 0.075

    @property
    def name(self) -> str:
        return f"{self.colour} {self.noun}" if self.noun in AMBIGUOUS else self.noun


# Nouns of several props. The names of these props start with the colour.
AMBIGUOUS = {"block", "mug", "ball"}


def _block(colour: str) -> Prop:
    return Prop("block", colour, (Part("box", (0.027, 0.027, 0.027)),), 0.027)


def _ball(colour: str) -> Prop:
    return Prop("ball", colour, (Part("sphere", (0.028,)),), 0.028)


def _mug(colour: str) -> Prop:
    handle = Part("box", (0.012, 0.006, 0.018), (0.036, 0.0, 0.0))
    return Prop("mug", colour, (Part("cylinder", (0.027, 0.030)), handle), 0.030)


def _open_box(colour: str, noun: str, half: float, wall: float, reach: float) -> Prop:
    sides = [Part("box", (half, 0.006, wall), (0.0, side * half, wall)) for side in (-1, 1)] + [
        Part("box", (0.006, half, wall), (side * half, 0.0, wall)) for side in (-1, 1)
    ]
    floor = Part("box", (half, half, 0.003), (0.0, 0.0, 0.003))
    return Prop(noun, colour, (floor, *sides), 0.0, False, 0.006, reach)


_CATALOGUE = (
    *(_block(c) for c in ("red", "green", "blue", "yellow", "pink", "purple", "orange")),
    *(_ball(c) for c in ("red", "green", "blue", "yellow", "pink", "purple", "orange")),
    *(_mug(c) for c in ("white", "red", "blue")),
    Prop(
        "carrot",
        "orange",
        (
            Part("capsule", (0.017, 0.032), euler=(0, 90, 0)),
            Part("box", (0.012, 0.010, 0.010), (0.055, 0, 0), "green"),
        ),
        0.018,
    ),
    Prop(
        "spoon",
        "green",  # as in SimplerEnv
        (Part("box", (0.045, 0.011, 0.007)), Part("ellipsoid", (0.027, 0.022, 0.010), (0.05, 0, 0))),
        0.010,
    ),
    Prop(
        "eggplant",
        "purple",
        (
            Part("ellipsoid", (0.045, 0.024, 0.024)),
            Part("box", (0.008, 0.008, 0.008), (0.045, 0, 0), "green"),
        ),
        0.024,
    ),
    Prop(
        "can",
        "red",
        (Part("cylinder", (0.024, 0.034)), Part("cylinder", (0.0245, 0.010), (0, 0, 0), "white")),
        0.034,
    ),
    Prop(
        "bottle",
        "green",
        (Part("cylinder", (0.022, 0.030)), Part("cylinder", (0.010, 0.016), (0, 0, 0.045))),
        0.030,
    ),
    Prop("butter", "yellow", (Part("box", (0.036, 0.022, 0.016)),), 0.016),
    Prop(
        "carton",
        "blue",
        (Part("box", (0.022, 0.022, 0.036)), Part("box", (0.0225, 0.0225, 0.010), (0, 0, 0.012), "white")),
        0.036,
    ),
    Prop(
        "pot",
        "gray",
        (Part("cylinder", (0.026, 0.030)), Part("box", (0.020, 0.006, 0.006), (0.040, 0, 0.015), "black")),
        0.030,
    ),
    Prop(
        "bowl",
        "black",
        (Part("cylinder", (0.032, 0.015)), Part("cylinder", (0.025, 0.002), (0, 0, 0.015), "gray")),
        0.015,
    ),
    Prop(
        "book",
        "pink",
        (Part("box", (0.028, 0.038, 0.012)), Part("box", (0.029, 0.036, 0.008), (0.001, 0, 0), "white")),
        0.012,
    ),
    Prop(
        "plate",
        "white",
        (
            Part("cylinder", (0.060, 0.004), (0, 0, 0.004)),
            Part("cylinder", (0.040, 0.0015), (0, 0, 0.008), "gray"),
        ),
        0.0,
        False,
        0.009,
    ),
    Prop(
        "towel",
        "blue",
        (
            Part("box", (0.065, 0.055, 0.003), (0, 0, 0.003)),
            Part("box", (0.065, 0.010, 0.0005), (0, 0, 0.006), "white"),
        ),
        0.0,
        False,
        0.006,
    ),
    Prop("tray", "red", (Part("box", (0.070, 0.055, 0.005), (0, 0, 0.005)),), 0.0, False, 0.010),
    Prop(
        "stove",
        "black",
        (
            Part("box", (0.068, 0.068, 0.008), (0, 0, 0.008)),
            Part("cylinder", (0.045, 0.001), (0, 0, 0.0165), "gray"),
        ),
        0.0,
        False,
        0.017,
    ),
    _open_box("brown", "basket", 0.070, 0.018, 0.075),
    _open_box("green", "caddy", 0.062, 0.018, 0.070),
)

SCALE = 1.15  # factor of the sizes above; a block is about 7 pixels wide in an image of 64 pixels


def _scaled(prop: Prop) -> Prop:
    parts = tuple(
        replace(p, size=tuple(SCALE * v for v in p.size), at=tuple(SCALE * v for v in p.at))
        for p in prop.parts
    )
    return replace(prop, parts=parts, height=SCALE * prop.height, surface=SCALE * prop.surface)


PROPS: dict[str, Prop] = {prop.name: _scaled(prop) for prop in _CATALOGUE}
