"""VQA-Mix: general questions about pictures mixed with questions about a robot at work, half and half."""

from __future__ import annotations

from collections.abc import Iterator

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.bridgevqa import ask
from vlm4vla.auxiliary.tasks.frames import frames
from vlm4vla.auxiliary.tasks.scenes import scenes
from vlm4vla.data.questions.statements import Picture

GENERAL = ("colour", "count", "existence", "state")


class VqaMix(Task):
    name = "vqa-mix"

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        def general(rng, picture: Picture) -> list[tuple[str, str]]:
            return [(s.question, s.answer) for s in picture.statements if s.set in GENERAL]

        half = (count + 1) // 2
        about = scenes(self.name, general, split, half, seed, image_size)
        embodied = frames(self.name, ask, split, half, seed, image_size, ("bridge", "calvin", "libero-10"))
        for number in range(count):
            yield next(embodied if number % 2 else about)
