"""The episodes of an evaluation, their shards, and the configuration of vla-eval."""

import pytest
from simulator_examples import protocol

from vlm4vla.config.simulators import ExternalPolicy
from vlm4vla.evaluation.simulators.episodes import (
    episode_count,
    shard_count,
    simulator_episodes,
    split_episodes,
)
from vlm4vla.evaluation.simulators.harness import harness_config, simulator_command

URL = "ws://127.0.0.1:8000"


@pytest.mark.parametrize(("benchmark", "count"), [("libero-10", 500), ("calvin", 1000), ("bridge", 96)])
def test_the_number_of_episodes_of_the_study(benchmark, count):
    episodes = simulator_episodes(protocol(benchmark))
    assert [each.number for each in episodes] == list(range(count))
    assert episode_count(protocol(benchmark)) == count
    assert len({(each.entry, each.task, each.state) for each in episodes}) == count


def test_the_initial_states_can_begin_later():
    first, later = (
        simulator_episodes(protocol("metaworld", {"first_state": start}, episodes=2)) for start in (0, 1000)
    )
    assert [(each.task, each.state) for each in later[:4]] == [(0, 1000), (0, 1001), (1, 1000), (1, 1001)]
    assert {each.state for each in first} == {0, 1} and len(first) == len(later) == 20
    asked = harness_config(protocol("metaworld"), later[:1], URL, external=None)["benchmarks"][0]
    assert asked["params"]["episodes"] == [{"task": 0, "state": 1000, "number": 0}]
    assert asked["params"]["params"] == {"env_seed": 0, "look_every": 4} and asked["max_steps"] == 200


def test_a_simulator_that_plays_its_expert_is_told_so():
    evaluation = protocol("metaworld")
    asked = harness_config(evaluation, simulator_episodes(evaluation)[:1], URL, external=None, script=True)
    params = asked["benchmarks"][0]["params"]["params"]
    assert params == {"env_seed": 0, "look_every": evaluation.execution_horizon, "expert": True}


def test_parts_contain_every_episode_once_and_tasks_together():
    episodes = simulator_episodes(protocol("libero-10", episodes=7))
    cut = split_episodes(episodes, 4)
    assert [each for part in cut for each in part] == episodes
    assert {len(part) for part in cut} == {17, 18}
    assert len(split_episodes(episodes[:3], 8)) == 3


def test_there_are_at_most_as_many_shards_as_episodes():
    assert (
        shard_count(
            protocol("bridge", {"tasks": {"widowx_stack_cube": 60}, "runs": {"shards": 9}}, episodes=2)
        )
        == 2
    )


def test_vla_eval_runs_the_missing_episodes_only():
    evaluation = protocol("bridge")
    missing = [each for each in simulator_episodes(evaluation) if each.entry in (1, 3) and each.state > 20]
    config = harness_config(evaluation, missing, URL, external=None)
    assert [each["name"] for each in config["benchmarks"]] == ["entry1", "entry3"]
    eggplant = config["benchmarks"][1]
    assert eggplant["max_steps"] == 120 and eggplant["episodes_per_task"] == 1
    assert eggplant["params"]["episodes"] == [
        {"task": 0, "state": state, "number": 72 + state} for state in (21, 22, 23)
    ]
    assert eggplant["params"]["params"]["task_name"] == "widowx_put_eggplant_in_basket"


def test_a_container_gets_our_folder_and_uses_vla_evals_adapter():
    evaluation = protocol("libero-10", {"runs": {"container": "libero:1"}})
    config = harness_config(evaluation, simulator_episodes(evaluation)[:1], URL, external=None)
    assert config["docker"]["image"] == "libero:1"
    assert config["docker"]["env"] == ["PYTHONPATH=/opt/vlm4vla"]
    params = config["benchmarks"][0]["params"]
    assert params["adapter"].startswith("vla_eval.") and "look_every" not in params["params"]
    command = simulator_command(evaluation.simulator, "c.yaml", "out", "e")
    assert "--no-docker" not in command


def test_an_external_policy_gets_every_image_and_its_actions_are_not_checked():
    external = ExternalPolicy(
        command=["serve", "{host}:{port}"], checkpoint="c", execution_horizon=5, unnormalisation="quantile"
    )
    evaluation = protocol("libero-10")
    ours, theirs = (
        harness_config(evaluation, simulator_episodes(evaluation)[:1], URL, external=each)["benchmarks"][0][
            "params"
        ]
        for each in (None, external)
    )
    assert ours["params"]["look_every"] == 2 and theirs["params"]["look_every"] == 1
    assert ours["sends"]["gripper"] == "binary_close_positive" and "sends" not in theirs


def test_the_simulator_runs_in_its_own_environment():
    evaluation = protocol("libero-10", {"runs": {"environment": "/somewhere/venv"}})
    assert simulator_command(evaluation.simulator, "c", "o", "e")[0] == "/somewhere/venv/bin/python"


def test_the_first_state_chooses_the_states_of_every_task():
    evaluation = protocol("libero-10", {"first_state": 30, "tasks": [6, 4]}, episodes=20)
    episodes = simulator_episodes(evaluation)
    assert [each.number for each in episodes] == list(range(40))
    assert [each.state for each in episodes] == [*range(30, 50)] * 2
    assert [each.task for each in episodes] == [6] * 20 + [4] * 20


@pytest.mark.parametrize(
    ("variation", "suite"),
    [(None, "libero_10"), ("language", "libero_10_lan"), ("position", "libero_10_swap")],
)
def test_a_variation_is_a_suite_of_vla_eval(variation, suite):
    evaluation = protocol("libero-10", {"variation": variation})
    config = harness_config(evaluation, simulator_episodes(evaluation)[:1], URL, external=None)
    assert config["benchmarks"][0]["params"]["params"]["suite"] == suite
