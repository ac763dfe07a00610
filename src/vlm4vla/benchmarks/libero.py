"""LIBERO-10 (embedded): ten tasks of two parts, each in its own scene with little variation.

It is modelled on LIBERO-Long, with 50 fixed initial states per task. Demonstrations and evaluation have the
same look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vlm4vla.benchmarks.base import Benchmark, Episode, Task
from vlm4vla.benchmarks.looks import Camera, Look, jitter_camera
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.skills import Articulate, Place, Press, Skill
from vlm4vla.core.errors import UserError
from vlm4vla.core.seeding import rng_for

STATES = 50
JITTER = 0.025  # metres; largest offset of a prop in x and in y
HERE, LEFT, RIGHT = (0.0, 0.0), (-0.034, 0.0), (0.034, 0.0)


@dataclass(frozen=True)
class SceneRecipe:
    """One task: its instruction, its two parts, and the initial scene.

    `props` and `fixtures`: positions (x, y) in metres. `q`: initial states of the fixtures, 0..1.
    """

    instruction: str
    props: dict[str, tuple[float, float]]
    parts: tuple[tuple, ...]
    fixtures: dict[str, tuple[float, float]] = field(default_factory=dict)
    q: dict[str, float] = field(default_factory=dict)


SCENES: dict[str, SceneRecipe] = {
    "can_and_bottle_in_basket": SceneRecipe(
        "put both the can and the bottle in the basket",
        {"can": (-0.13, -0.10), "bottle": (0.02, 0.10), "basket": (0.17, 0.0), "butter": (-0.14, 0.08)},
        (("place", "can", "basket", HERE, LEFT), ("place", "bottle", "basket", HERE, RIGHT)),
    ),
    "butter_and_carton_in_basket": SceneRecipe(
        "put both the butter and the carton in the basket",
        {"butter": (0.10, -0.13), "carton": (0.12, 0.10), "basket": (-0.15, 0.0), "can": (-0.02, 0.13)},
        (("place", "butter", "basket", HERE, LEFT), ("place", "carton", "basket", HERE, RIGHT)),
    ),
    "stove_on_and_pot": SceneRecipe(
        "turn on the stove and put the pot on it",
        {"pot": (-0.13, -0.06), "stove": (0.06, 0.10), "bowl": (0.05, -0.14)},
        (("press", True), ("place", "pot", "stove")),
        {"button": (0.22, 0.06)},
    ),
    "bowl_in_drawer_and_close": SceneRecipe(
        "put the bowl in the drawer and close it",
        {"bowl": (0.12, -0.08), "carton": (0.16, 0.12)},
        (("place", "bowl", "drawer"), ("articulate", "drawer", 0.0)),
        {"drawer": (-0.12, 0.06)},
        {"drawer": 1.0},
    ),
    "mugs_on_plate_and_tray": SceneRecipe(
        "put the white mug on the plate and the red mug on the tray",
        {"white mug": (-0.06, -0.14), "red mug": (0.07, -0.13), "plate": (-0.16, 0.08), "tray": (0.16, 0.08)},
        (("place", "white mug", "plate"), ("place", "red mug", "tray")),
    ),
    "book_in_caddy_and_close_drawer": SceneRecipe(
        "put the book in the caddy and close the drawer",
        {"book": (-0.02, -0.10), "caddy": (-0.18, 0.03)},
        (("place", "book", "caddy"), ("articulate", "drawer", 0.0)),
        {"drawer": (0.16, 0.04)},
        {"drawer": 1.0},
    ),
    "mug_on_plate_butter_beside": SceneRecipe(
        "put the white mug on the plate and the butter to the right of the plate",
        {"white mug": (-0.17, -0.08), "butter": (0.02, -0.14), "plate": (-0.02, 0.08)},
        (("place", "white mug", "plate"), ("place", "butter", "plate", (0.13, 0.0))),
    ),
    "can_and_butter_in_basket": SceneRecipe(
        "put both the can and the butter in the basket",
        {"can": (0.16, -0.07), "butter": (-0.16, -0.09), "basket": (0.0, 0.11), "bottle": (-0.15, 0.10)},
        (("place", "can", "basket", HERE, LEFT), ("place", "butter", "basket", HERE, RIGHT)),
    ),
    "pot_and_bowl_on_tray": SceneRecipe(
        "put both the pot and the bowl on the tray",
        {"pot": (0.16, 0.08), "bowl": (0.04, -0.14), "tray": (-0.13, 0.04)},
        (("place", "pot", "tray", HERE, RIGHT), ("place", "bowl", "tray", HERE, LEFT)),
    ),
    "mug_on_tray_and_close_door": SceneRecipe(
        "put the red mug on the tray and slide the door to the left",
        {"red mug": (-0.16, -0.02), "tray": (0.10, -0.09)},
        (("place", "red mug", "tray"), ("articulate", "slider", 0.0)),
        {"slider": (-0.02, 0.18)},
        {"slider": 1.0},
    ),
}

LOOK = Look(
    camera=Camera(elevation=67, azimuth=90, distance=0.79),
    table=(0.62, 0.55, 0.46),
    table_material="wood",
    floor=(0.70, 0.70, 0.68),
    fixture=(0.60, 0.52, 0.44),
    light=0.64,
)


def _skill(part: tuple) -> Skill:
    kind, *rest = part
    if kind == "press":
        return Press(rest[0])
    if kind == "articulate":
        return Articulate(*rest)
    return Place(*rest)


class Libero(Benchmark):
    name = "libero-10"
    position_unit = 0.08
    rotation_unit = 0.5
    clip = 1.0
    speed = 0.071
    turn = 0.3

    def instructions(self) -> list[str]:
        return [scene.instruction for scene in SCENES.values()]

    def _episode(self, name: str, rng: np.random.Generator, look: Look, index: int) -> Episode:
        scene = SCENES[name]

        def moved(at: tuple[float, float], by: float) -> tuple[float, float]:
            return at[0] + float(rng.uniform(-by, by)), at[1] + float(rng.uniform(-by, by))

        props = {n: (*moved(at, JITTER), float(rng.uniform(-0.3, 0.3))) for n, at in scene.props.items()}
        fixtures = {n: moved(at, 0.01) for n, at in scene.fixtures.items()}
        layout = Layout(tuple(scene.props), tuple(scene.fixtures))
        task = Task(name, scene.instruction, tuple(_skill(part) for part in scene.parts))
        return Episode(layout, props, look, (task,), fixtures, scene.q, initial_state=index)

    def demonstration(self, index: int, seed: int) -> Episode:
        rng = rng_for("libero demonstration", seed, index)
        name = list(SCENES)[index % len(SCENES)]
        return self._episode(name, rng, jitter_camera(LOOK, rng, 0.5, 0.005), index)

    def evaluation(self, episodes: int, seed: int) -> Sequence[Episode]:
        if episodes > STATES:
            raise UserError(
                f"benchmarks.libero-10.evaluation.episodes: {episodes} initial states a task: "
                f"write at most {STATES}"
            )
        return [
            self._episode(name, rng_for("libero evaluation", seed, name, i), LOOK, i)
            for name in SCENES
            for i in range(episodes)
        ]
