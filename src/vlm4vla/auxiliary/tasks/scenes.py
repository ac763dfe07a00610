"""Pictures of random scenes for the tasks that ask about a scene and not about a robot's motion."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vlm4vla.benchmarks.painter import Painter
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.questions.statements import Picture, Statement

Ask = Callable[[np.random.Generator, Picture], list[tuple[str, str]]]


def scenes(
    name: str,
    ask: Ask,
    split: str,
    count: int,
    seed: int,
    image_size: int,
    look: str = "internet",
    dense: bool = False,
) -> Iterator[Picture]:
    """Pictures about which `ask` has questions with answers; the others are left out.

    `dense`: with depth and classes of every pixel.
    """
    painter = Painter(image_size, look)
    index = made = 0
    while made < count:
        picture = painter.draw(f"{name} {split}", seed, index, dense)
        said = ask(rng_for(name, split, seed, index), picture)
        index += 1
        if said:
            picture.statements = [Statement(name, question, answer) for question, answer in said]
            made += 1
            yield picture


def things(picture: Picture) -> list[str]:
    """What lies in the picture, without the robot."""
    return [name for name in picture.places if name not in ("gripper", "shadow")]
