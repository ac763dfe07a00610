"""Which episodes an evaluation on a simulator has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm4vla.config.benchmarks import Protocol
from vlm4vla.config.simulators import Simulator

SUITE = "libero_10"
INSTRUCTIONS_IN_A_CHAIN = 5  # CALVIN's
SUCCESS_MODES = {"last-step": "truncation", "any-step": "early_stop"}  # SimplerEnv's adapter's words


@dataclass(frozen=True)
class Chosen:
    """Episode `number` of an evaluation: initial state `state` of the task `task` of the entry `entry`."""

    number: int
    entry: int
    task: int
    state: int


@dataclass(frozen=True)
class Entry:
    """One benchmark object of vla-eval: the arguments of its adapter, and the steps of an episode at most.

    `steps`: as records count them, per instruction on CALVIN.
    """

    params: dict[str, Any]
    steps: int
    max_steps: int


def entries(evaluation: Protocol, *, look_every: int = 1) -> list[Entry]:
    """What vla-eval has to build. `look_every`: steps from picture to picture, if some can be left out."""
    simulator = _simulator(evaluation)
    steps, more = evaluation.max_steps, dict(simulator.params)
    if simulator.adapter == "simplerenv":
        assert isinstance(simulator.tasks, dict)
        success = SUCCESS_MODES[simulator.success]
        shared = {"success_mode": success, "seed": evaluation.seed, **more}
        return [
            Entry({"task_name": name, "max_episode_steps": own, **shared}, own, own)
            for name, own in simulator.tasks.items()
        ]
    if simulator.adapter == "calvin":
        params = {"num_sequences": evaluation.episodes, "seed": evaluation.seed, "ep_len": steps, **more}
        return [Entry(params, steps, steps * INSTRUCTIONS_IN_A_CHAIN)]
    if simulator.adapter == "libero":
        params = {"suite": SUITE, "seed": evaluation.seed, "env_seed": simulator.environment_seed}
        params |= {"num_steps_wait": simulator.idle_steps}
        if simulator.runs.container is None:
            params["look_every"] = look_every
        return [Entry(params | more, steps, steps)]
    return [Entry(more, steps, steps)]


def chosen(evaluation: Protocol) -> list[Chosen]:
    """All episodes, numbered from 0: a chain each on CALVIN, else `episodes` initial states task by task."""
    simulator = _simulator(evaluation)
    if simulator.adapter == "calvin":
        return [Chosen(number, 0, number, number) for number in range(evaluation.episodes)]
    if isinstance(simulator.tasks, dict):
        places = [(entry, 0) for entry in range(len(simulator.tasks))]
    else:
        places = [(0, task) for task in simulator.task_numbers()]
    states = range(evaluation.episodes)
    ordered = [(*place, state) for place in places for state in states]
    return [Chosen(number, *each) for number, each in enumerate(ordered)]


def parts(episodes: Sequence[Chosen], count: int) -> list[list[Chosen]]:
    """`episodes` in `count` runs of nearly equal length, those of one task together; none is empty."""
    size, longer = divmod(len(episodes), min(count, len(episodes)))
    pieces, rest = [], list(episodes)
    while rest:
        length = size + (len(pieces) < longer)
        pieces.append(rest[:length])
        rest = rest[length:]
    return pieces


def shards(evaluation: Protocol) -> int:
    """Number of jobs of an evaluation: as configured, and no more than there are episodes."""
    return min(_simulator(evaluation).runs.shards, len(chosen(evaluation)))


def _simulator(evaluation: Protocol) -> Simulator:
    assert evaluation.simulator is not None
    return evaluation.simulator
