"""Who acts in a rollout: a VLA, random actions (the floor) or the scripted expert (the ceiling)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vlm4vla.benchmarks.base import Benchmark, Task
from vlm4vla.benchmarks.skills import limited
from vlm4vla.benchmarks.world import World
from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core import imports
from vlm4vla.core.seeding import rng_for


class Actor(Protocol):
    """Called by `rollout.runner` whenever worlds have executed what they were given.

    `plan` returns actions (n, horizon, 7) in the benchmark's units; `sees` says whether it needs pictures.
    """

    sees: bool

    def plan(
        self,
        worlds: Sequence[World],
        tasks: Sequence[Task],
        episodes: Sequence[int],
        images: np.ndarray | None,
    ) -> np.ndarray: ...


class Expert:
    """The scripted expert, asked anew at every step."""

    sees = False

    def __init__(self, benchmark: Benchmark):
        self.benchmark = benchmark

    def plan(self, worlds, tasks, episodes, images) -> np.ndarray:
        benchmark, actions = self.benchmark, []
        for world, task in zip(worlds, tasks, strict=True):
            command = task.act(world)
            motion, rotation = limited(world, command, benchmark.speed, benchmark.turn)
            actions.append(benchmark.action(motion, rotation, command.open))
        return np.stack(actions)[:, None]


class Random:
    """Uniform motion up to the expert's top speed, and fingers that open or close as a coin falls."""

    sees = False

    def __init__(self, benchmark: Benchmark, seed: int, horizon: int):
        self.benchmark, self.seed, self.horizon = benchmark, seed, horizon
        self._streams: dict[int, np.random.Generator] = {}

    def plan(self, worlds, tasks, episodes, images) -> np.ndarray:
        return np.stack([self._chunk(episode) for episode in episodes])

    def _chunk(self, episode: int) -> np.ndarray:
        rng = self._streams.setdefault(episode, rng_for("random policy", self.seed, episode))
        speed, turn = self.benchmark.speed, self.benchmark.turn
        return np.stack(
            [
                self.benchmark.action(
                    rng.uniform(-speed, speed, 3), rng.uniform(-turn, turn, 3), bool(rng.integers(2))
                )
                for _ in range(self.horizon)
            ]
        )


class Vla:
    """A trained policy: all worlds that need a plan are asked about in one batch.

    A head that samples gets noise that depends on the seed, the episode and how often that episode has asked,
    and on nothing else: not on which episodes stand beside it.
    """

    sees = True

    def __init__(self, folder: Path, horizon: int, seed: int):
        imports.load(*imports.MODULES["rollout"])
        import torch

        from vlm4vla.policies.policy import Policy

        torch.set_num_threads(1)
        self.policy = Policy.load(folder)
        self.horizon, self.seed = horizon, seed
        self.forget()

    def forget(self) -> None:
        """Begin anew: no episode has asked yet."""
        self._asked: Counter[int] = Counter()

    def plan(self, worlds, tasks, episodes, images) -> np.ndarray:
        head, more = self.policy.head, {}
        if head.reads_state:
            more["states"] = np.stack([world.state() for world in worlds])
        if head.samples:
            more["noise"] = np.stack([self._noise(episode) for episode in episodes])
        chunk = self.policy.predict(images, [task.instruction for task in tasks], **more)
        return np.asarray(chunk)[:, : self.horizon]

    def _noise(self, episode: int) -> np.ndarray:
        rng = rng_for("policy noise", self.seed, episode, self._asked[episode])
        self._asked[episode] += 1
        return rng.standard_normal((self.policy.chunk, ACTION_SIZE))
