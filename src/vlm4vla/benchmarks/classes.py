"""The semantic classes of pixels, and the colour of each class in a segmentation map."""

from __future__ import annotations

import mujoco
import numpy as np

from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.scene import slug

# The colours are far apart, because a generated pixel gets the class with the nearest colour. The mean of
# many colours is grey, so the most common class, table, is grey: uncertain pixels are then drawn as table.
PALETTE: dict[str, tuple[int, int, int]] = {
    "floor": (0, 0, 0),  # and everything beyond the floor
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
    """Return the class of a prop."""
    return _OF_NOUN[PROPS[name].noun]


def classes_of_geoms(model: mujoco.MjModel) -> np.ndarray:
    """Return (ngeom + 1,) uint8: the index of each geom's class in `CLASSES`.

    The last entry is for pixels without a geom. The hand's shadow counts as table.
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
