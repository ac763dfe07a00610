"""Pictures with statements about them, true by the scene's own state.

One picture carries every statement that it supports, by question set; training and evaluation choose among
them. Places are read off the picture: `<loc00>` … `<loc63>` are the cells of an 8 by 8 grid in reading order,
`<x00>` … `<x15>` and `<y00>` … `<y15>` sixteenths of its width and height.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm4vla.benchmarks import looks
from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import scatter
from vlm4vla.benchmarks.camera import project
from vlm4vla.benchmarks.classes import classes_of_geoms
from vlm4vla.benchmarks.props import AMBIGUOUS, COLOURS, PROPS
from vlm4vla.benchmarks.scene import Layout, slug
from vlm4vla.benchmarks.world import World
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.questions.points import BINS, point
from vlm4vla.data.questions.statements import Picture, Statement

GRID = 8
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
SETS = ("caption", "where", "colour", "count", "relation", "existence", "pointing", "state")
# A question has many wordings, as for a real VLM: a name must be read off wherever it stands.
WHERE = (
    "where is the {} ?",
    "find the {}",
    "locate the {} in the picture",
    "show me the {}",
    "look for the {} here",
)
FROM = (
    "where is the {} from the {} ?",
    "which way is the {} from the {} ?",
    "is the {} left or right of the {} and how far ?",
)
FROM_GRIPPER = (
    "reach the {}",
    "go to the {} on the table",
    "take the {} in the hand",
    "touch the {}",
    "move to the {} from here",
)
FIXTURES = {"drawer": "drawer", "slider": "door", "switch": "switch", "button": "button"}
LISTED = 3  # things in a caption
NEAR, FAR = 0.03, 0.11  # metres: below NEAR a thing is neither left nor right, beyond FAR it is far
LAYOUT = Layout(tuple(PROPS), tuple(FIXTURES), frozen=True)


def cell(place: tuple[float, float]) -> str:
    """The grid cell of a place."""
    column, row = (int(np.clip(v * GRID, 0, GRID - 1)) for v in place)
    return f"<loc{row * GRID + column:02d}>"


def relation(a: Sequence[float], b: Sequence[float]) -> str:
    """Where on the table (x, y in metres) `a` lies as seen from `b`: first left or right, then front or back.

    Each is "near", or the side, or the side with "far-" before it.
    """

    def side(distance: float, low: str, high: str) -> str:
        if abs(distance) < NEAR:
            return "near"
        return ("far-" if abs(distance) > FAR else "") + (low if distance < 0 else high)

    return f"{side(a[0] - b[0], 'left', 'right')} {side(a[1] - b[1], 'front', 'back')}"


def height(z: float) -> str:
    """A height above the table (m) in a word."""
    return "low" if z < 0.05 else "middle" if z < 0.10 else "high"


def place_tokens() -> list[str]:
    """Every word that stands for a place."""
    bins = range(BINS)
    return (
        [f"<loc{i:02d}>" for i in range(GRID * GRID)]
        + [f"<x{i:02d}>" for i in bins]
        + [f"<y{i:02d}>" for i in bins]
    )


class Painter:
    """Draws random scenes and says what is true of them. `look`: "internet" or "benchmark" (see looks)."""

    def __init__(self, image_size: int, look: str):
        self.arena = Arena(Layout(LAYOUT.props, LAYOUT.fixtures, True, image_size))
        self.world = World(self.arena)
        self.look = look
        self.class_of = classes_of_geoms(self.arena.model)

    def draw(self, split: str, seed: int, index: int, dense: bool = False) -> Picture:
        """Picture `index` of a split; the same arguments give the same picture and statements.

        `dense` adds what each pixel shows: depth (size, size) float32 in metres along the camera's axis, and
        classes (size, size) uint8, places in `classes.CLASSES`.
        """
        rng = rng_for("questions", split, seed, index)
        look = looks.internet(rng) if self.look == "internet" else looks.Look()
        # Many pictures show one thing: from them a small model learns names and places first, and then it
        # can learn which thing of several a question means. Without them it stays where guessing leaves it.
        fixtures = [n for n in FIXTURES if rng.random() < 0.2]
        count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.25, 0.25, 0.15]))
        names = [str(n) for n in rng.choice(list(PROPS), count, replace=False)]
        shown = bool(rng.random() < 0.7)
        held = bool(shown and rng.random() < 0.3)
        spots = scatter(rng, len(fixtures) + len(names), (-0.25, -0.20), (0.25, 0.22), 0.10)
        at = dict(zip(fixtures, spots, strict=False))
        q = {n: float(rng.integers(2)) for n in ("drawer", "slider", "switch")}
        led = bool(rng.integers(2))
        hand = np.array([rng.uniform(-0.24, 0.24), rng.uniform(-0.2, 0.2), rng.uniform(0.02, 0.16)])
        props = {
            n: (*spot, float(rng.uniform(-np.pi, np.pi)))
            for n, spot in zip(names, spots[len(fixtures) :], strict=True)
        }
        world = self.world
        world.reset(props, at, look, q, led, tuple(hand), shown)
        movable = [n for n in names if PROPS[n].movable]
        world.open = bool(rng.integers(2)) and not (held and movable)
        world.rotation[2] = rng.uniform(-0.5, 0.5)
        carried = None
        if held and movable:
            carried = movable[0]
            world.static[carried] = hand.copy()
            world.data.mocap_pos[world.model.body(slug(carried)).mocapid[0]] = hand
        world._place()
        image = world.render(rng)
        things = {n: world.position(n) for n in names}
        things |= {FIXTURES[n]: world.position(n) for n in at}
        if shown:
            things["gripper"] = world.hand
            things["shadow"] = world.hand * [1, 1, 0]
        flat = project(look, np.array(list(things.values())))
        places = {
            n: (float(p[0]), float(p[1]))
            for n, p in zip(things, flat, strict=True)
            if ((p > 0) & (p < 1)).all()
        }
        picture = Picture(image, places, ground={n: np.array(at) for n, at in things.items()})
        if dense:
            picture.depth, geoms = self.arena.render_depth(world.model, world.data)
            picture.classes = self.class_of[geoms]  # -1, no geom, is the last entry
        picture.statements = [Statement("caption", "describe", text) for text in self._captions(rng, places)]
        picture.statements += self._questions(rng, places, things, names, carried, shown, set(at))
        return picture

    def _captions(self, rng, places) -> list[str]:
        """What is where, `LISTED` things at a time, in an order of their own each time."""
        out = []
        for _ in range(3):
            order = [str(n) for n in rng.permutation(sorted(places))[:LISTED]]
            out.append(" ".join(f"{n} {cell(places[n])}" for n in order))
        return out

    def _questions(self, rng, places, ground, names, carried, shown, fixtures) -> list[Statement]:
        out = [Statement("where", str(rng.choice(WHERE)).format(n), cell(p)) for n, p in places.items()]
        out += [
            Statement("pointing", f"point to the {n}", point(p))
            for n, p in places.items()
            if n not in ("gripper", "shadow")
        ]
        nouns = [PROPS[n].noun for n in names]
        for name in names:
            prop = PROPS[name]
            if nouns.count(prop.noun) == 1:
                out.append(Statement("colour", f"what colour is the {prop.noun} ?", prop.colour))
        for noun in sorted(AMBIGUOUS):
            out.append(Statement("count", f"how many {noun}s are there ?", NUMBERS[nouns.count(noun)]))
        out.append(Statement("count", "how many things are there ?", NUMBERS[len(names)]))
        order = [n for n in places if n != "shadow"]
        for _ in range(4 if len(order) > 1 else 0):
            a, b = (str(n) for n in rng.choice(order, 2, replace=False))
            wordings = FROM
            if "gripper" in places and a != "gripper" and rng.random() < 0.8:
                b = "gripper"
                wordings = FROM + FROM_GRIPPER
            question = str(rng.choice(wordings)).format(a, b)
            out.append(Statement("relation", question, relation(ground[a], ground[b])))
        absent = [n for n in PROPS if n not in names]
        for present in (True, False):
            name = str(rng.choice(names if present else absent))
            out.append(Statement("existence", f"is there a {name} ?", "yes" if present else "no"))
        state = {
            "drawer": ("is the drawer open ?", self.world.q["drawer"] > 0.5),
            "slider": ("is the door on the right ?", self.world.q["slider"] > 0.5),
            "switch": ("is the bulb on ?", self.world.lit["bulb"]),
            "button": ("is the led on ?", self.world.lit["led"]),
        }
        asked = [state[n] for n in FIXTURES if n in fixtures]
        if shown:
            asked.append(("is the gripper open ?", self.world.open))
            asked.append(("does the gripper hold a thing ?", carried is not None))
            out.append(Statement("state", "how high is the gripper ?", height(self.world.hand[2])))
        return out + [Statement("state", q, "yes" if yes else "no") for q, yes in asked]


def words() -> list[str]:
    """Every word of questions and answers, sorted, without the place tokens."""
    text = [
        " ".join(WHERE + FROM + FROM_GRIPPER).replace("{}", "") + " shadow",
        "describe how high point to what colour how many things are there a thing does hold",
        "is there a drawer open door on the right bulb led gripper switch button yes no",
        "near left far-left right far-right front far-front back far-back low middle high",
        " ".join(NUMBERS),
        " ".join(COLOURS),
        " ".join(f"{noun}s" for noun in AMBIGUOUS),
        " ".join(PROPS),
    ]
    return sorted(set(" ".join(text).split()))
