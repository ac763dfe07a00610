"""Push button: a button between blocks switches a lamp on and off. A benchmark in one file.

The table, the hand, the objects and the skills are those of the embedded benchmarks. See
vlm4vla.benchmarks.props for objects and their names, .scene for fixtures, and .skills for the skills of the
scripted expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlm4vla.extensions import (
    Benchmark,
    Camera,
    Episode,
    Gripper,
    Layout,
    Look,
    Press,
    Task,
    benchmark,
    jitter_camera,
    rng_for,
    scatter,
)

# task: (whether the lamp is on afterwards, wordings; evaluation uses the first wording)
TASKS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "light_lamp": (True, ("push the knob to light the lamp", "light the lamp")),
    "put_out_lamp": (False, ("push the knob to put out the lamp", "put out the lamp")),
}
BLOCKS = ("red block", "blue block")
LAYOUT = Layout(BLOCKS, ("button",))
LOOK = Look(camera=Camera(elevation=66, azimuth=90, distance=0.80), table=(0.60, 0.62, 0.58), light=0.62)


@benchmark
class PushButton(Benchmark):
    name = "push-button"
    fps = 10
    position_unit = 0.08  # an action of 1 moves the hand 8 cm
    rotation_unit = 0.5
    clip = 1.0
    speed = 0.071
    turn = 0.3
    gripper = Gripper(open=1.0, close=-1.0)

    def instructions(self) -> list[str]:
        return [wording for _, wordings in TASKS.values() for wording in wordings]

    def _episode(self, task: str, rng: np.random.Generator, look: Look, wording: int, index: int) -> Episode:
        lit, wordings = TASKS[task]
        button, *places = scatter(rng, 1 + len(BLOCKS), (-0.18, -0.15), (0.18, 0.12), 0.13)
        blocks = {
            name: (*place, float(rng.uniform(-0.6, 0.6))) for name, place in zip(BLOCKS, places, strict=True)
        }
        return Episode(
            LAYOUT,
            blocks,
            look,
            (Task(task, wordings[wording], (Press(lit),)),),
            fixtures={"button": button},
            led=not lit,
            initial_state=index,
        )

    def demonstration(self, index: int, seed: int) -> Episode:
        rng = rng_for("push-button demonstration", seed, index)
        task = list(TASKS)[index % len(TASKS)]
        look = replace(jitter_camera(LOOK, rng, 1.5, 0.02), gain=float(rng.uniform(0.92, 1.08)))
        return self._episode(task, rng, look, int(rng.integers(len(TASKS[task][1]))), index)

    def evaluation(self, episodes: int, seed: int) -> Sequence[Episode]:
        return [
            self._episode(task, rng_for("push-button evaluation", seed, task, i), LOOK, 0, i)
            for task in TASKS
            for i in range(episodes)
        ]
