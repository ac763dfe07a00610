"""Images of random scenes with true statements about them, derived from the state of the scene.

A picture carries all statements that it supports, each with its question set. Training and evaluation choose
among them. Image positions are words: `<loc00>` … `<loc63>` are the cells of an 8 by 8 grid in reading order;
`<x00>` … `<x15>` and `<y00>` … `<y15>` are sixteenths of the image's width and height.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm4vla.benchmarks import looks
from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import scatter
from vlm4vla.benchmarks.classes import classes_of_geoms
from vlm4vla.benchmarks.looks import project
from vlm4vla.benchmarks.props import AMBIGUOUS, COLOURS, PROPS
from vlm4vla.benchmarks.scene import Layout, slug
from vlm4vla.benchmarks.world import World
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.questions.statements import POINT_BINS, Picture, Statement, point_words

GRID = 8
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
SETS = ("caption", "where", "colour", "count", "relation", "existence", "pointing", "state")
# A question has many wordings, as for a real VLM: a backbone must find the name at any position in it.
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
NEAR, FAR = 0.03, 0.11  # metres; under NEAR a thing is neither left nor right, over FAR it is far
LAYOUT = Layout(tuple(PROPS), tuple(FIXTURES), frozen=True)


def cell_word(place: tuple[float, float]) -> str:
    """Return the word for the grid cell of an image position (column, row) in 0..1."""
    column, row = (int(np.clip(v * GRID, 0, GRID - 1)) for v in place)
    return f"<loc{row * GRID + column:02d}>"


def relation(a: Sequence[float], b: Sequence[float]) -> str:
    """Return the position of `a` relative to `b` (x, y in metres): first left or right, then front or back.

    Each of the two words is "near", a side, or a side with the prefix "far-".
    """

    def side(distance: float, low: str, high: str) -> str:
        if abs(distance) < NEAR:
            return "near"
        return ("far-" if abs(distance) > FAR else "") + (low if distance < 0 else high)

    return f"{side(a[0] - b[0], 'left', 'right')} {side(a[1] - b[1], 'front', 'back')}"


def height_word(z: float) -> str:
    """Return the word for a height above the table in metres."""
    return "low" if z < 0.05 else "middle" if z < 0.10 else "high"


def place_tokens() -> list[str]:
    """Return every word for an image position."""
    bins = range(POINT_BINS)
    return (
        [f"<loc{i:02d}>" for i in range(GRID * GRID)]
        + [f"<x{i:02d}>" for i in bins]
        + [f"<y{i:02d}>" for i in bins]
    )


class Painter:
    """Renders random scenes with statements about them.

    `look`: "internet" for a random look per picture (see looks.py), "benchmark" for the default look.
    """

    def __init__(self, image_size: int, look: str):
        self.arena = Arena(Layout(LAYOUT.props, LAYOUT.fixtures, True, image_size))
        self.world = World(self.arena)
        self.look = look
        self.geom_classes = classes_of_geoms(self.arena.model)

    def draw(self, split: str, seed: int, index: int, dense: bool = False) -> Picture:
        """Draw picture `index` of a split. The same arguments give the same picture and statements.

        `dense` adds the depth (size, size) float32, in metres along the camera's axis, and the classes (size,
        size) uint8, as indices into `classes.CLASSES`.
        """
        rng = rng_for("questions", split, seed, index)
        look = looks.internet_look(rng) if self.look == "internet" else looks.Look()
        # Many pictures show only one thing. From them a small model first learns names and positions. Then it
        # can learn which of several things a question means. Without them it stays at chance level.
        fixtures = [n for n in FIXTURES if rng.random() < 0.2]
        count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.25, 0.25, 0.15]))
        names = [str(n) for n in rng.choice(list(PROPS), count, replace=False)]
        show_hand = bool(rng.random() < 0.7)
        held = bool(show_hand and rng.random() < 0.3)
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
        world.reset(props, at, look, q, led, tuple(hand), show_hand)
        movable = [n for n in names if PROPS[n].movable]
        world.open = bool(rng.integers(2)) and not (held and movable)
        world.rotation[2] = rng.uniform(-0.5, 0.5)
        carried = None
        if held and movable:
            carried = movable[0]
            world.static[carried] = hand.copy()
            world.data.mocap_pos[world.model.body(slug(carried)).mocapid[0]] = hand
        world._write_state()
        image = world.render(rng)
        things = {n: world.position(n) for n in names}
        things |= {FIXTURES[n]: world.position(n) for n in at}
        if show_hand:
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
            picture.classes = self.geom_classes[geoms]  # index -1, for no geom, is the last entry
        picture.statements = [Statement("caption", "describe", text) for text in self._captions(rng, places)]
        picture.statements += self._questions(rng, places, things, names, carried, show_hand, set(at))
        return picture

    def _captions(self, rng, places) -> list[str]:
        """Return captions that list up to `LISTED` things with their positions, in random order."""
        captions = []
        for _ in range(3):
            order = [str(n) for n in rng.permutation(sorted(places))[:LISTED]]
            captions.append(" ".join(f"{n} {cell_word(places[n])}" for n in order))
        return captions

    def _questions(self, rng, places, ground, names, carried, show_hand, fixtures) -> list[Statement]:
        out = [Statement("where", str(rng.choice(WHERE)).format(n), cell_word(p)) for n, p in places.items()]
        out += [
            Statement("pointing", f"point to the {n}", point_words(p))
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
        yes_no = [state[n] for n in FIXTURES if n in fixtures]
        if show_hand:
            yes_no.append(("is the gripper open ?", self.world.open))
            yes_no.append(("does the gripper hold a thing ?", carried is not None))
            out.append(Statement("state", "how high is the gripper ?", height_word(self.world.hand[2])))
        return out + [Statement("state", question, "yes" if yes else "no") for question, yes in yes_no]


def question_words() -> list[str]:
    """Return every word of the questions and answers, sorted, without the words for image positions."""
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
