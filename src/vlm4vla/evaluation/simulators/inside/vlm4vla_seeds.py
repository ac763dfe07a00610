"""The seed of an episode, which makes an episode independent of those that its process played before.

A simulator draws from the random numbers of its process: LIBERO places fixtures and opens drawers at each
reset, from numpy's global generator. Seeded only when the process starts, the scene of an episode depends on
the number of episodes before it, and so on shards, on resumed jobs and on the order of tasks. Two policies
that are compared on one initial state then see two scenes.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np


def episode_seed(seed: int, task: int, state: int) -> int:
    """The seed of the episode that begins at the initial state `state` of `task`: from 0 to 2**32 - 1.

    `seed`: the seed of the evaluation, any integer. `task`, `state`: at least 0. Episodes that differ in one
    of the three have different seeds, up to chance collisions of 32-bit numbers.
    """
    return int(np.random.SeedSequence([seed % 2**64, task, state]).generate_state(1)[0])


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python and numpy, and that of torch if the simulator has imported it."""
    random.seed(seed)
    np.random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def forget_episodes(environment: Any) -> None:
    """Remove from a simulator's environment what its own reset keeps of the episodes before.

    LIBERO, in tasks that begin with something open or switched on: each reset appends the sampler of that
    joint to a list, and draws one number for each sampler in the list. The places of fixtures are drawn
    after them, so they depend on the number of resets even with a seed. The list is emptied, and the next
    reset fills it.

    CALVIN: PyBullet keeps the contacts of the last steps, and the robot its last gripper command, which is
    part of its state. So the same actions lead to another end. The world is loaded again (0.3 s).

    `environment`: the environment of an adapter, with its wrappers, or None. Other simulators are left as
    they are: SimplerEnv's adapter builds a new environment for each episode.
    """
    for each in (environment, getattr(environment, "env", None)):
        samplers = vars(each).get("object_property_initializers") if hasattr(each, "__dict__") else None
        if isinstance(samplers, list):
            samplers.clear()
        if any(kind.__name__ == "PlayTableSimEnv" for kind in type(each).__mro__):
            each.load()
            each.robot.gripper_action = 1  # open, as in a new environment
