"""Classes of what a pixel shows, and their colours in a picture of them."""

from __future__ import annotations

import mujoco
import numpy as np

from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.scene import slug

# Each class has a colour that is far from the others': a generated pixel is of the class of the nearest one.
# The mean of many colours is grey, so the commonest class is grey: what might be anything is drawn as table.
PALETTE: dict[str, tuple[int, int, int]] = {
    "floor": (0, 0, 0),  # and whatever lies beyond it
    "table": (128, 128, 128),
    "gripper": (255, 255, 255),
    "fixture": (128, 0, 0),
    "block": (255, 0, 0),
    "ball": (0, 255, 0),
    "vessel": (0, 0, 255),
    "food": (255, 255, 0),
    "tool": (255, 0, 255),
    "surface": (0, 255, 255),
}
CLASSES = tuple(PALETTE)
_OF_NOUN = {
    "block": "block",
    "ball": "ball",
    **dict.fromkeys(("mug", "can", "bottle", "carton", "pot", "bowl"), "vessel"),
    **dict.fromkeys(("carrot", "eggplant", "butter"), "food"),
    **dict.fromkeys(("spoon", "book"), "tool"),
    **dict.fromkeys(("plate", "towel", "tray", "stove", "basket", "caddy"), "surface"),
}


def class_of_prop(name: str) -> str:
    """The class of a prop of the catalogue."""
    return _OF_NOUN[PROPS[name].noun]


def classes_of_geoms(model: mujoco.MjModel) -> np.ndarray:
    """(ngeom + 1,) uint8: each geom's place in `CLASSES`; the last entry stands for no geom.

    The hand's shadow lies on the table and counts as table.
    """
    props = {slug(name): class_of_prop(name) for name in PROPS}
    found = np.zeros(model.ngeom + 1, np.uint8)
    for index in range(model.ngeom):
        group = model.geom(index).name.partition(":")[0]
        body = model.body(model.geom_bodyid[index]).name
        if group in ("floor", "table"):
            name = group
        elif group == "shadow":
            name = "table"
        elif group == "hand":
            name = "gripper"
        else:
            name = props.get(body, "fixture")
        found[index] = CLASSES.index(name)
    return found
