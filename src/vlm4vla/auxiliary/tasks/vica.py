"""ViCA-332k: sizes, distances and relative positions, computed from the true geometry of the scene.

Lengths are in centimetres, rounded to even numbers, because an image of 64 pixels shows no finer detail.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.auxiliary.tasks.pictures import scenes, things
from vlm4vla.benchmarks.props import PROPS, Part
from vlm4vla.data.questions.statements import Picture

APART = 0.04  # metres; "left of" and "in front of" are asked only about things farther apart than this
CLOSER = 0.04  # metres; two distances are compared only if they differ by more than this


class Vica(AuxiliaryTask):
    name = "vica-332k"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        return scenes(self.name, ask, split, count, seed, image_size)

    def score(self, answer: str, truth: str) -> float:
        """Score a length as 1 - |error| / truth, at least 0, and any other answer by an exact match."""
        if not truth.isdigit():
            return float(answer == truth)
        if not answer.isdigit():
            return 0.0
        return max(0.0, 1 - abs(int(answer) - int(truth)) / max(int(truth), 1))


def centimetres(metres: float) -> str:
    """Return a length in centimetres, rounded to an even number."""
    return str(2 * round(50 * metres))


def half_sizes(part: Part) -> np.ndarray:
    """Return half the side lengths (3,) in metres of a part's bounding box, in the part's frame."""
    size = part.size
    if part.kind == "sphere":
        return np.full(3, size[0])
    if part.kind == "cylinder":
        return np.array([size[0], size[0], size[1]])
    if part.kind == "capsule":
        return np.array([size[0], size[0], size[1] + size[0]])
    return np.array(size)  # box, ellipsoid


def extent(name: str) -> np.ndarray:
    """Return the side lengths (3,) in metres of a prop's bounding box, in the prop's frame."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for part in PROPS[name].parts:
        half = half_sizes(part)
        if part.euler == (0, 90, 0):
            half = half[[2, 1, 0]]
        elif any(part.euler):
            raise ValueError(f"{name}: the bounding box of a part rotated by {part.euler} is not implemented")
        low, high = np.minimum(low, part.at - half), np.maximum(high, part.at + half)
    return high - low


def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
    """Ask for sizes of props, for distances, and which of two things is to one side, nearer or larger."""
    names = things(picture)
    at = {name: picture.ground[name][:2] for name in names}
    questions = []
    for name in names:
        if name in PROPS:
            size = extent(name)
            questions.append((f"how long is the {name} in centimetres ?", centimetres(size[:2].max())))
            questions.append((f"how tall is the {name} in centimetres ?", centimetres(size[2])))
    for _ in range(3 if len(names) > 1 else 0):
        a, b = (str(name) for name in rng.choice(names, 2, replace=False))
        away = at[a] - at[b]
        questions.append((f"how far is the {a} from the {b} in centimetres ?", centimetres(np.hypot(*away))))
        if abs(away[0]) > APART:
            questions.append((f"is the {a} left of the {b} ?", "yes" if away[0] < 0 else "no"))
        if abs(away[1]) > APART:
            questions.append((f"is the {a} in front of the {b} ?", "yes" if away[1] < 0 else "no"))
        if a in PROPS and b in PROPS:
            sizes = [float(np.prod(extent(name)) ** (1 / 3)) for name in (a, b)]
            if max(sizes) > 1.25 * min(sizes):
                questions.append((f"which is larger the {a} or the {b} ?", a if sizes[0] > sizes[1] else b))
    for _ in range(2 if len(names) > 2 else 0):
        a, b, c = (str(name) for name in rng.choice(names, 3, replace=False))
        far = [float(np.hypot(*(at[name] - at[c]))) for name in (a, b)]
        if abs(far[0] - far[1]) > CLOSER:
            nearer = a if far[0] < far[1] else b
            questions.append((f"which is nearer to the {c} the {a} or the {b} ?", nearer))
    return questions
