"""BridgeVQA: spatial questions about frames of robot demonstrations, as VQASynth asks about photographs.

The authors' set (Bridge, Fractal and CALVIN frames) is not released: this one is rebuilt from the frames of
our own Bridge and CALVIN demonstrations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.frames import Frame, frames
from vlm4vla.benchmarks.painter import cell, relation
from vlm4vla.data.questions.statements import Picture

CLOSER = 0.04  # metres: two distances must differ by this to be compared


class BridgeVqa(Task):
    name = "bridgevqa"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return frames(self.name, ask, split, count, seed, image_size, ("bridge", "calvin"))


def ask(rng: np.random.Generator, frame: Frame) -> list[tuple[str, str]]:
    """Where things are, in the picture and from the gripper, and which of two is nearer to it."""
    names = [n for n, p in frame.places.items() if n != "gripper" and 0 < p[0] < 1 and 0 < p[1] < 1]
    hand = frame.ground["gripper"]
    said = []
    for name in names:
        said.append((f"where is the {name} ?", cell(frame.places[name])))
        said.append((f"where is the {name} from the gripper ?", relation(frame.ground[name], hand)))
    for _ in range(2 if len(names) > 1 else 0):
        a, b = (str(name) for name in rng.choice(names, 2, replace=False))
        said.append((f"where is the {a} from the {b} ?", relation(frame.ground[a], frame.ground[b])))
        far = [float(np.hypot(*(frame.ground[name] - hand)[:2])) for name in (a, b)]
        if abs(far[0] - far[1]) > CLOSER:
            nearer = a if far[0] < far[1] else b
            said.append((f"which is nearer to the gripper the {a} or the {b} ?", nearer))
    return said
