"""The episodes of an evaluation on a simulator, their order, and the benchmarks that vla-eval builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.simulators import Simulator
from vlm4vla.conventions.benchmarks import CALVIN

SUCCESS_MODES = {"last-step": "truncation", "any-step": "early_stop"}  # as SimplerEnv's adapter names them


@dataclass(frozen=True)
class SimulatorEpisode:
    """An episode of an evaluation.

    `number`: from 0 in the evaluation. `entry`: index of the benchmark entry. `task`: index of the task in
    the entry. `state`: number of the initial state of the task.
    """

    number: int
    entry: int
    task: int
    state: int


@dataclass(frozen=True)
class BenchmarkEntry:
    """A benchmark that vla-eval builds.

    `params`: arguments of the adapter. `max_steps`: maximum number of steps of an episode. `steps`: the
    maximum that records contain, which is per instruction on CALVIN.
    """

    params: dict[str, Any]
    steps: int
    max_steps: int


def benchmark_entries(evaluation: EvaluationProtocol, *, look_every: int = 1) -> list[BenchmarkEntry]:
    """The benchmarks that vla-eval builds for an evaluation.

    `look_every`: steps from one rendered image to the next, for simulators that can leave out images.
    """
    simulator = _simulator(evaluation)
    steps, more = evaluation.max_steps, dict(simulator.params)
    if simulator.adapter == "simplerenv":
        assert isinstance(simulator.tasks, dict)
        success = SUCCESS_MODES[simulator.success]
        shared = {"success_mode": success, "seed": evaluation.seed, **more}
        return [
            BenchmarkEntry({"task_name": name, "max_episode_steps": own, **shared}, own, own)
            for name, own in simulator.tasks.items()
        ]
    if simulator.convention.chains:
        params = {"num_sequences": evaluation.episodes, "seed": evaluation.seed, "ep_len": steps, **more}
        return [BenchmarkEntry(params, steps, steps * CALVIN.instructions_per_episode)]
    if simulator.adapter == "libero":
        params = {"suite": simulator.suite, "seed": evaluation.seed, "env_seed": simulator.environment_seed}
        params |= {"num_steps_wait": simulator.idle_steps}
        if simulator.runs.container is None:
            params["look_every"] = look_every
        if simulator.idle_order == "interleaved":
            params["interleaved"] = True
        return [BenchmarkEntry(params | more, steps, steps)]
    if simulator.adapter == "metaworld":
        params = {"env_seed": simulator.environment_seed, "look_every": look_every}
        return [BenchmarkEntry(params | more, steps, steps)]
    return [BenchmarkEntry(more, steps, steps)]


def simulator_episodes(evaluation: EvaluationProtocol) -> list[SimulatorEpisode]:
    """All episodes of an evaluation, numbered from 0.

    On CALVIN, an episode is a chain. Otherwise, every task has `evaluation.episodes` initial states, from
    `simulator.first_state` on, and the episodes of a task follow each other.
    """
    simulator = _simulator(evaluation)
    if simulator.convention.chains:
        return [SimulatorEpisode(number, 0, number, number) for number in range(evaluation.episodes)]
    states = range(simulator.first_state, simulator.first_state + evaluation.episodes)
    ordered = [(*task, state) for task in _tasks(evaluation) for state in states]
    return [SimulatorEpisode(number, *each) for number, each in enumerate(ordered)]


def filmed_episodes(evaluation: EvaluationProtocol) -> set[int]:
    """Numbers of the `evaluation.videos` filmed episodes: the first state of each task, then the second."""
    ordered = sorted(simulator_episodes(evaluation), key=lambda each: (each.state, each.number))
    return {each.number for each in ordered[: evaluation.videos]}


def episode_count(evaluation: EvaluationProtocol) -> int:
    """The number of episodes of an evaluation, which the plan of jobs asks for often."""
    if _simulator(evaluation).convention.chains:
        return evaluation.episodes
    return len(_tasks(evaluation)) * evaluation.episodes


def _tasks(evaluation: EvaluationProtocol) -> list[tuple[int, int]]:
    """(entry, task) of every task of a simulator that does not draw chains."""
    simulator = _simulator(evaluation)
    if isinstance(simulator.tasks, dict):
        return [(entry, 0) for entry in range(len(simulator.tasks))]
    return [(0, task) for task in simulator.task_numbers()]


def split_episodes(episodes: Sequence[SimulatorEpisode], count: int) -> list[list[SimulatorEpisode]]:
    """Split `episodes` into at most `count` non-empty parts of nearly equal length, in their order."""
    size, longer = divmod(len(episodes), min(count, len(episodes)))
    pieces, rest = [], list(episodes)
    while rest:
        length = size + (len(pieces) < longer)
        pieces.append(rest[:length])
        rest = rest[length:]
    return pieces


def shard_count(evaluation: EvaluationProtocol) -> int:
    """The number of shards of an evaluation: the configured number, but at most the number of episodes."""
    return min(_simulator(evaluation).runs.shards, episode_count(evaluation))


def _simulator(evaluation: EvaluationProtocol) -> Simulator:
    assert evaluation.simulator is not None
    return evaluation.simulator
