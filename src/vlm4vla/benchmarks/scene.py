"""The MuJoCo model of a scene, written as MJCF.

Frame: the table's top is z = 0, x points right in the image, y away from the camera. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

from vlm4vla.benchmarks.looks import MATERIALS
from vlm4vla.benchmarks.props import COLOURS, PROPS, Part
from vlm4vla.core.errors import UserError

HALF_TABLE = (0.36, 0.30)  # half-lengths in x and y
PARKED = (0.0, 0.0, -3.0)  # position of unused parts, out of sight
TIMESTEP = 0.005
# Fixtures: axis and stroke (metres) of the moving part. Its position `q` goes from 0 to 1 along the stroke.
STROKES: dict[str, tuple[tuple[float, float, float], float]] = {
    "drawer": ((0.0, -1.0, 0.0), 0.12),  # q = 1: open, pulled towards the camera
    "slider": ((1.0, 0.0, 0.0), 0.15),  # q = 0: left, 1: right
    "switch": ((0.0, 1.0, 0.0), 0.09),  # q = 1: up, the bulb is lit
    "button": ((0.0, 0.0, -1.0), 0.012),  # q = 1: pressed
}


@dataclass(frozen=True)
class Layout:
    """The names of the props (each at most once) and of the fixtures in a model.

    `frozen` builds a model for rendering only, without simulation.
    """

    props: tuple[str, ...]
    fixtures: tuple[str, ...] = ()
    frozen: bool = False
    image_size: int = 64


def slug(name: str) -> str:
    return name.replace(" ", "_")


def _numbers(values) -> str:
    return " ".join(f"{value:.5g}" for value in values)


def _geom(part: Part, colour: str, collide: bool, extra: str = "") -> str:
    rgb = COLOURS[part.colour or colour]
    contact = 'contype="1" conaffinity="1"' if collide else 'contype="0" conaffinity="0"'
    euler = f' euler="{_numbers(part.euler)}"' if any(part.euler) else ""
    return (
        f'<geom type="{part.kind}" size="{_numbers(part.size)}" pos="{_numbers(part.at)}"{euler} '
        f'rgba="{_numbers(rgb)} 1" {contact} friction="1 0.02 0.002" {extra}/>'
    )


def _box(name: str, size, at, rgb, group: str, collide: bool = True) -> str:
    contact = "" if collide else 'contype="0" conaffinity="0"'
    return (
        f'<geom name="{group}:{name}" type="box" size="{_numbers(size)}" pos="{_numbers(at)}" '
        f'rgba="{_numbers(rgb)} 1" {contact}/>'
    )


def _fixture(name: str) -> str:
    """Return two mocap bodies: the fixed base and the moving part."""
    brown, dark = (0.55, 0.42, 0.30), (0.15, 0.15, 0.17)
    if name == "drawer":
        base = _box("roof", (0.066, 0.048, 0.005), (0, 0.052, 0.051), brown, "fixture")
        base += _box("left", (0.005, 0.048, 0.026), (-0.061, 0.052, 0.026), brown, "fixture", False)
        base += _box("right", (0.005, 0.048, 0.026), (0.061, 0.052, 0.026), brown, "fixture", False)
        base += _box("back", (0.066, 0.004, 0.026), (0, 0.098, 0.026), brown, "fixture", False)
        moving = _box("floor", (0.055, 0.045, 0.003), (0, 0.045, 0.003), (0.75, 0.62, 0.45), "inside", False)
        moving += _box("front", (0.062, 0.008, 0.024), (0, -0.008, 0.024), brown, "fixture", False)
        moving += _box("handle", (0.028, 0.010, 0.008), (0, -0.024, 0.028), dark, "handle", False)
    elif name == "slider":
        base = _box("rail", (0.115, 0.014, 0.012), (0.0, 0.016, 0.012), brown, "fixture", False)
        moving = _box("door", (0.040, 0.008, 0.034), (0, 0.004, 0.034), (0.80, 0.74, 0.62), "door", False)
        moving += _box("handle", (0.010, 0.012, 0.024), (0, -0.014, 0.030), dark, "handle", False)
    elif name == "switch":
        base = _box("plate", (0.026, 0.062, 0.006), (0, 0.045, 0.006), brown, "fixture", False)
        base += (
            '<geom name="bulb:bulb" type="sphere" size="0.022" pos="0 0.125 0.024" rgba="0.35 0.35 0.3 1" '
            'contype="0" conaffinity="0"/>'
        )
        moving = _box("handle", (0.016, 0.012, 0.020), (0, 0, 0.022), dark, "handle", False)
    else:
        base = _box("plate", (0.034, 0.034, 0.006), (0, 0, 0.006), brown, "fixture", False)
        base += _box("led", (0.034, 0.012, 0.010), (0, 0.060, 0.010), (0.2, 0.25, 0.2), "led", False)
        moving = (
            '<geom name="knob:button" type="cylinder" size="0.020 0.010" pos="0 0 0.018" '
            'rgba="0.85 0.30 0.10 1" contype="0" conaffinity="0"/>'
        )
    moving = moving.replace(":", f":{name}_") if moving else moving
    base = base.replace(":", f":{name}_")
    place = _numbers(PARKED)
    return (
        f'<body name="{name}:base" mocap="true" pos="{place}">{base}</body>'
        f'<body name="{name}:moving" mocap="true" pos="{place}">{moving}</body>'
    )


def mjcf(layout: Layout) -> str:
    """Return the scene as MJCF text. Raises UserError for an unknown prop or fixture."""
    bodies, welds = [], []
    for name in layout.props:
        if name not in PROPS:
            raise UserError(f"scene: unknown prop {name!r}: write one of {', '.join(sorted(PROPS))}")
        prop = PROPS[name]
        free = prop.movable and not layout.frozen
        tag = f'name="{slug(name)}"' + ("" if free else ' mocap="true"')
        mass = 'mass="0.04"' if free else ""
        geoms = "".join(_geom(part, prop.colour, not layout.frozen, mass) for part in prop.parts)
        joint = f'<joint name="{slug(name)}" type="free" damping="0.002"/>' if free else ""
        bodies.append(f'<body {tag} pos="{_numbers(PARKED)}">{joint}{geoms}</body>')
        if free:
            welds.append(
                f'<weld name="{slug(name)}" body1="hand" body2="{slug(name)}" active="false" '
                f'relpose="0 0 0 1 0 0 0" solref="0.012 1"/>'
            )
    for name in layout.fixtures:
        if name not in STROKES:
            raise UserError(f"scene: unknown fixture {name!r}: write one of {', '.join(sorted(STROKES))}")
        bodies.append(_fixture(name))
    none = 'contype="0" conaffinity="0"'
    # Curved shapes have few facets: more would not be visible at 64 pixels, and the software renderer's time
    # grows with the number of vertices.
    builtins = {
        "plain": 'builtin="flat" rgb1="1 1 1"',
        "checker": 'builtin="checker" rgb1="1 1 1" rgb2="0.75 0.75 0.75"',
        "fine-checker": 'builtin="checker" rgb1="1 1 1" rgb2="0.6 0.6 0.6"',
        "gradient": 'builtin="gradient" rgb1="1 1 1" rgb2="0.6 0.6 0.6"',
        "speckle": 'builtin="flat" rgb1="0.9 0.9 0.9" mark="random" markrgb="0.4 0.4 0.4" random="0.05"',
        "wood": 'builtin="checker" rgb1="1 0.95 0.9" rgb2="0.85 0.72 0.6"',
    }
    repeat = {"checker": "4 4", "fine-checker": "10 10", "wood": "1 9"}
    textures = "".join(
        f'<texture name="{m}" type="2d" {builtins[m]} width="64" height="64"/>'
        f'<material name="{m}" texture="{m}" texrepeat="{repeat.get(m, "1 1")}" specular="0" shininess="0"/>'
        for m in MATERIALS
    )
    size = layout.image_size
    return f"""<mujoco>
<compiler angle="degree"/>
<option timestep="{TIMESTEP}" integrator="implicitfast" iterations="20" cone="pyramidal"/>
<visual><quality offsamples="0" shadowsize="0" numslices="10" numstacks="6" numquads="1"/>
<global offwidth="{size}" offheight="{size}"/>
<headlight ambient="0.4 0.4 0.4" diffuse="0.2 0.2 0.2" specular="0 0 0"/>
<map znear="0.02" zfar="10"/></visual>
<asset>{textures}</asset>
<worldbody>
<light name="lamp" pos="0.2 -0.4 1.5" dir="0 0.2 -1" castshadow="false" diffuse="0.6 0.6 0.6"
 specular="0 0 0"/>
<camera name="camera" pos="0 -0.6 0.8"/>
<geom name="floor" type="box" size="3 3 0.01" pos="0 0 -0.45" material="plain" {none}/>
<geom name="table" type="box" size="{HALF_TABLE[0]} {HALF_TABLE[1]} 0.02" pos="0 0 -0.02" material="plain"
 friction="1 0.02 0.002"/>
<body name="hand" mocap="true" pos="{_numbers(PARKED)}">
<geom name="hand:palm" type="box" size="0.040 0.018 0.012" pos="0 0 0.052" {none}/>
<geom name="hand:arm" type="capsule" size="0.015 0.07" pos="0 0.02 0.125" euler="-15 0 0" {none}/></body>
<body name="finger:left" mocap="true" pos="{_numbers(PARKED)}">
<geom name="hand:left" type="box" size="0.007 0.014 0.026" pos="0 0 0.018" {none}/></body>
<body name="finger:right" mocap="true" pos="{_numbers(PARKED)}">
<geom name="hand:right" type="box" size="0.007 0.014 0.026" pos="0 0 0.018" {none}/></body>
<body name="shadow" mocap="true" pos="{_numbers(PARKED)}">
<geom name="shadow" type="cylinder" size="0.030 0.0006" rgba="0.05 0.05 0.05 1" {none}/></body>
{"".join(bodies)}
</worldbody>
<equality>{"".join(welds)}</equality>
</mujoco>"""
