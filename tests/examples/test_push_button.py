"""The example benchmark: the expert solves it, random actions rarely do, and it keeps to its interface."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import Task, get_benchmark
from vlm4vla.benchmarks.world import World
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.rollouts.actors import RandomActor, ScriptedExpert
from vlm4vla.evaluation.rollouts.runner import WorldPool, run_batch
from vlm4vla.stages import rollout


@pytest.fixture
def benchmark():
    return get_benchmark("push-button")


def solved(benchmark, actor, episodes, max_steps):
    outcomes = run_batch(WorldPool(64), benchmark, actor, episodes, 0, max_steps=max_steps, seed=0, filmed=0)
    return np.mean([outcome.solved for outcome in outcomes])


def test_the_expert_solves_at_least_95_percent_of_unseen_initial_states(benchmark):
    assert solved(benchmark, ScriptedExpert(benchmark), benchmark.evaluation(12, seed=917), 40) >= 0.95


def test_random_actions_solve_less_than_half(benchmark):
    assert solved(benchmark, RandomActor(benchmark, 0, 4), benchmark.evaluation(12, seed=917), 40) < 0.5


def test_initial_states_depend_on_the_seed_only(benchmark):
    first, again, other = (benchmark.evaluation(3, seed) for seed in (0, 0, 1))
    assert [e.fixtures for e in first] == [e.fixtures for e in again] != [e.fixtures for e in other]
    shown = {benchmark.demonstration(index, 0).fixtures["button"] for index in range(20)}
    assert not shown & {episode.fixtures["button"] for episode in first}


def test_no_task_is_solved_at_the_start(benchmark):
    for episode in benchmark.evaluation(2, seed=3):
        world = World(Arena(episode.layout))
        episode.start(world)
        episode.tasks[0].begin(world)
        assert not episode.tasks[0].done(world)
        assert world.lit["led"] == (episode.tasks[0].name == "put_out_lamp")


def test_every_instruction_is_used(benchmark):
    used = {benchmark.demonstration(index, 0).tasks[0].instruction for index in range(60)}
    used |= {episode.tasks[0].instruction for episode in benchmark.evaluation(1, 0)}
    assert used == set(benchmark.instructions())


def test_actions_have_the_gripper_values_of_the_benchmark(benchmark):
    assert [benchmark.action(np.zeros(3), np.zeros(3), opens)[6] for opens in (True, False)] == [1.0, -1.0]


def settings(**changes) -> RolloutSettings:
    evaluation = {"episodes": 2, "max_steps": 40, "execution_horizon": 1, "videos": 0}
    values = {
        "policy": "expert",
        "backbone": "expert",
        "variant": "full",
        "benchmark": "push-button",
        "seed": 0,
    }
    values |= {"evaluation": evaluation, "image_size": 64, "study": "s", "scale": "smoke"}
    return RolloutSettings.model_validate(values | changes)


def test_records_of_the_expert(tmp_path):
    rollout.run(settings(), output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet").to_pandas()
    assert rows["task"].tolist() == ["light_lamp"] * 2 + ["put_out_lamp"] * 2
    assert rows["success"].all() and set(rows["benchmark"]) == {"push-button"}


def test_a_chain_needs_the_attribute_instructions_per_episode(tmp_path, monkeypatch, benchmark):
    class Two(type(benchmark)):
        def evaluation(self, episodes, seed):
            first = super().evaluation(episodes, seed)[0]
            return [replace(first, tasks=(*first.tasks, Task("again", "again", first.tasks[0].skills)))]

    monkeypatch.setattr(rollout, "get_benchmark", lambda name: Two())
    message = (
        "^benchmarks.push-button: an episode has 2 tasks, but instructions_per_episode is 1: "
        "write `instructions_per_episode = 2`"
    )
    with pytest.raises(UserError, match=message):
        rollout.run(settings(), output=tmp_path)
    assert not (tmp_path / "episodes.parquet").exists()
