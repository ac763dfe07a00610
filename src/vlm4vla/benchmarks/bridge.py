"""Bridge (embedded): four pick-and-place tasks. Demonstrations have "real" looks, evaluation a simulated one.

It is modelled on the Bridge V2 data and SimplerEnv's WidowX tasks, with 24 fixed initial states per task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlm4vla.benchmarks.base import Benchmark, Episode, Task, scatter
from vlm4vla.benchmarks.looks import Camera, Look, jitter_camera
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.skills import Place
from vlm4vla.core.errors import UserError
from vlm4vla.core.seeding import rng_for

STATES = 24

# task: (prop, target, wordings); evaluation uses the first wording
TASKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "carrot_on_plate": ("carrot", "plate", ("put the carrot on the plate", "place the carrot on the plate")),
    "spoon_on_towel": ("spoon", "towel", ("put the spoon on the towel", "move the spoon onto the towel")),
    "stack_green_on_yellow": (
        "green block",
        "yellow block",
        ("stack the green block on the yellow block", "put the green block on the yellow block"),
    ),
    "eggplant_in_basket": (
        "eggplant",
        "basket",
        ("put the eggplant in the basket", "place the eggplant into the basket"),
    ),
}

KITCHENS = (
    Look(table=(0.70, 0.52, 0.34), table_material="wood", floor=(0.50, 0.48, 0.46), light=0.55),
    Look(table=(0.58, 0.58, 0.60), table_material="speckle", floor=(0.30, 0.30, 0.34), light=0.62),
    Look(table=(0.76, 0.74, 0.68), table_material="gradient", floor=(0.45, 0.38, 0.30), light=0.66),
)
SIMULATED = Look(
    camera=Camera(elevation=66.5, azimuth=89.0, distance=0.81),
    table=(0.66, 0.60, 0.52),
    table_material="plain",
    floor=(0.42, 0.42, 0.44),
    light=0.60,
)


class Bridge(Benchmark):
    name = "bridge"
    fps = 5
    position_unit = 1.0  # metres, as Bridge V2 records them
    rotation_unit = 1.0
    speed = 0.071
    turn = 0.3

    def instructions(self) -> list[str]:
        return [wording for _, _, wordings in TASKS.values() for wording in wordings]

    def _episode(self, task: str, rng: np.random.Generator, look: Look, wording: int, index: int) -> Episode:
        prop, target, wordings = TASKS[task]
        mine, under = scatter(rng, 2, (-0.17, -0.15), (0.17, 0.13), 0.15)
        props = {
            prop: (*mine, float(rng.uniform(-0.6, 0.6))),
            target: (*under, float(rng.uniform(-0.2, 0.2))),
        }
        skills = (Place(prop, target),)
        layout = Layout((prop, target))
        return Episode(layout, props, look, (Task(task, wordings[wording], skills),), initial_state=index)

    def demonstration(self, index: int, seed: int) -> Episode:
        rng = rng_for("bridge demonstration", seed, index)
        task = list(TASKS)[index % len(TASKS)]
        look = KITCHENS[int(rng.integers(len(KITCHENS)))]
        table = np.clip(np.asarray(look.table) + rng.uniform(-0.06, 0.06, 3), 0, 1)
        look = replace(
            jitter_camera(look, rng, 2.5, 0.03),
            table=tuple(float(c) for c in table),
            light=look.light * float(rng.uniform(0.85, 1.1)),
            noise=0.02,
            gain=float(rng.uniform(0.9, 1.08)),
        )
        return self._episode(task, rng, look, int(rng.integers(len(TASKS[task][2]))), index)

    def evaluation(self, episodes: int, seed: int) -> Sequence[Episode]:
        if episodes > STATES:
            raise UserError(
                f"benchmarks.bridge.evaluation.episodes: {episodes} initial states a task: "
                f"write at most {STATES}"
            )
        return [
            self._episode(task, rng_for("bridge evaluation", seed, task, i), SIMULATED, 0, i)
            for task in TASKS
            for i in range(episodes)
        ]
