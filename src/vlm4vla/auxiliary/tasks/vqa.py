"""BridgeVQA and VQA-Mix: spatial questions about frames of demonstrations, alone or mixed with general ones.

The authors' BridgeVQA asks questions in the way of VQASynth about frames of Bridge, Fractal and CALVIN. It is
not released, so this version is rebuilt from frames of our own Bridge and CALVIN demonstrations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.auxiliary.tasks.pictures import Frame, frames, scenes
from vlm4vla.benchmarks.painter import cell_word, relation
from vlm4vla.conventions.benchmarks import BRIDGE, CALVIN, LIBERO_10
from vlm4vla.data.questions.statements import Picture

CLOSER = 0.04  # metres; two distances are compared only if they differ by more than this
GENERAL = ("colour", "count", "existence", "state")  # question sets of the general half of VQA-Mix


class BridgeVqa(AuxiliaryTask):
    name = "bridgevqa"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return frames(self.name, ask, split, count, seed, image_size, (BRIDGE.name, CALVIN.name))


class VqaMix(AuxiliaryTask):
    """One half general questions about random scenes, one half spatial questions about demonstrations."""

    name = "vqa-mix"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        def ask_general(rng, picture: Picture) -> list[tuple[str, str]]:
            return [(s.question, s.answer) for s in picture.statements if s.set in GENERAL]

        half = (count + 1) // 2
        general = scenes(self.name, ask_general, split, half, seed, image_size)
        benchmarks = (BRIDGE.name, CALVIN.name, LIBERO_10.name)
        spatial = frames(self.name, ask, split, half, seed, image_size, benchmarks)
        for number in range(count):
            yield next(spatial if number % 2 else general)


def ask(rng: np.random.Generator, frame: Frame) -> list[tuple[str, str]]:
    """Ask where things are, in the image and from the gripper, and which of two is nearer to the gripper."""
    names = [n for n, p in frame.places.items() if n != "gripper" and 0 < p[0] < 1 and 0 < p[1] < 1]
    hand = frame.ground["gripper"]
    questions = []
    for name in names:
        questions.append((f"where is the {name} ?", cell_word(frame.places[name])))
        questions.append((f"where is the {name} from the gripper ?", relation(frame.ground[name], hand)))
    for _ in range(2 if len(names) > 1 else 0):
        a, b = (str(name) for name in rng.choice(names, 2, replace=False))
        questions.append((f"where is the {a} from the {b} ?", relation(frame.ground[a], frame.ground[b])))
        far = [float(np.hypot(*(frame.ground[name] - hand)[:2])) for name in (a, b)]
        if abs(far[0] - far[1]) > CLOSER:
            nearer = a if far[0] < far[1] else b
            questions.append((f"which is nearer to the gripper the {a} or the {b} ?", nearer))
    return questions
