"""Actors of a rollout: a trained or released policy, random actions (floor), scripted expert (ceiling)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vlm4vla.benchmarks.base import Benchmark, Task
from vlm4vla.benchmarks.skills import limit_motion
from vlm4vla.benchmarks.world import World
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core import imports
from vlm4vla.core.seeding import rng_for

if TYPE_CHECKING:
    from vlm4vla.policies.policy import Policy
    from vlm4vla.policies.released.pi0 import ReleasedPi0


class Actor(Protocol):
    """Chooses the actions of a rollout. The runner calls `plan` when worlds have no actions left to execute.

    `plan` gets n worlds, their tasks, their episode numbers and their camera images (n, H, W, 3) uint8. The
    images are None unless `needs_images`. `plan` returns actions (n, horizon, 7) in the benchmark's units.
    """

    needs_images: bool

    def plan(
        self,
        worlds: Sequence[World],
        tasks: Sequence[Task],
        episodes: Sequence[int],
        images: np.ndarray | None,
    ) -> np.ndarray: ...


class ScriptedExpert:
    """The scripted expert, which chooses one action at every step."""

    needs_images = False

    def __init__(self, benchmark: Benchmark):
        self.benchmark = benchmark

    def plan(self, worlds, tasks, episodes, images) -> np.ndarray:
        benchmark, actions = self.benchmark, []
        for world, task in zip(worlds, tasks, strict=True):
            command = task.act(world)
            motion, rotation = limit_motion(world, command, benchmark.speed, benchmark.turn)
            actions.append(benchmark.action(motion, rotation, command.open))
        return np.stack(actions)[:, None]


class RandomActor:
    """Uniform motion up to the expert's maximum speed; the gripper opens or closes with equal probability.

    The random actions depend on the seed and the episode only.
    """

    needs_images = False

    def __init__(self, benchmark: Benchmark, seed: int, horizon: int):
        self.benchmark, self.seed, self.horizon = benchmark, seed, horizon
        self._generators: dict[int, np.random.Generator] = {}

    def plan(self, worlds, tasks, episodes, images) -> np.ndarray:
        return np.stack([self._chunk(episode) for episode in episodes])

    def _chunk(self, episode: int) -> np.ndarray:
        rng = self._generators.setdefault(episode, rng_for("random policy", self.seed, episode))
        speed, turn = self.benchmark.speed, self.benchmark.turn
        return np.stack(
            [
                self.benchmark.action(
                    rng.uniform(-speed, speed, 3), rng.uniform(-turn, turn, 3), bool(rng.integers(2))
                )
                for _ in range(self.horizon)
            ]
        )


class PredictingActor:
    """A policy. It plans for all worlds in one batch.

    A policy that samples gets noise that depends on the seed, the episode and the number of plans made in
    that episode. The noise does not depend on the other episodes of the batch.
    """

    needs_images = True

    def __init__(self, policy: Policy | ReleasedPi0, horizon: int, seed: int):
        self.policy = policy
        self.horizon, self.seed = horizon, seed
        self.reset()

    def reset(self) -> None:
        """Forget how many plans each episode has had."""
        self._plans: Counter[int] = Counter()

    def plan(self, worlds, tasks, episodes, images) -> np.ndarray:
        inputs = {}
        if self.policy.reads_state:
            inputs["states"] = np.stack([world.state() for world in worlds])
        if self.policy.samples:
            inputs["noise"] = np.stack([self._noise(episode) for episode in episodes])
        chunk = self.policy.predict(images, [task.instruction for task in tasks], **inputs)
        return np.asarray(chunk)[:, : self.horizon]

    def _noise(self, episode: int) -> np.ndarray:
        rng = rng_for("policy noise", self.seed, episode, self._plans[episode])
        self._plans[episode] += 1
        return rng.standard_normal(self.policy.noise_shape)


class PolicyActor(PredictingActor):
    """A trained policy.

    Raises UserError if the policy in `folder` crops its images otherwise than `centre_crop` says.
    """

    def __init__(self, folder: Path, horizon: int, seed: int, centre_crop: float | None = None):
        imports.load(*imports.MODULES["rollout"])
        import torch

        from vlm4vla.policies.policy import Policy

        torch.set_num_threads(1)
        policy = Policy.load(folder)
        policy.check_centre_crop(centre_crop, folder)
        super().__init__(policy, horizon, seed)


class ReleasedActor(PredictingActor):
    """The released policy in `folder`, for the rollout with these `settings`.

    Raises UserError for a folder that is damaged or does not fit.
    """

    def __init__(self, folder: Path, settings: RolloutSettings):
        imports.load(*imports.MODULES["rollout"])
        import torch

        from vlm4vla.policies.released.pi0 import load_released

        torch.set_num_threads(1)
        evaluation = settings.evaluation
        super().__init__(load_released(folder, settings), evaluation.execution_horizon, evaluation.seed)
