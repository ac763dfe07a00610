"""Which episodes there are, how they are cut into jobs, and what vla-eval is asked to play."""

import pytest
from simulator_examples import protocol

from vlm4vla.config.simulators import OtherPolicy
from vlm4vla.evaluation.simulators.episodes import chosen, parts, shards
from vlm4vla.evaluation.simulators.harness import harness_config, simulator_command

URL = "ws://127.0.0.1:8000"


@pytest.mark.parametrize(("benchmark", "count"), [("libero-10", 500), ("calvin", 1000), ("bridge", 96)])
def test_the_studys_numbers_of_trials(benchmark, count):
    episodes = chosen(protocol(benchmark))
    assert [each.number for each in episodes] == list(range(count))
    places = {(each.entry, each.task, each.state) for each in episodes}
    assert len(places) == count  # no initial state twice


def test_parts_hold_every_episode_once_and_tasks_together():
    episodes = chosen(protocol("libero-10", episodes=7))
    cut = parts(episodes, 4)
    assert [each for part in cut for each in part] == episodes
    assert {len(part) for part in cut} == {17, 18}
    assert len(parts(episodes[:3], 8)) == 3


def test_no_more_jobs_than_episodes():
    assert (
        shards(protocol("bridge", {"tasks": {"widowx_stack_cube": 60}, "runs": {"shards": 9}}, episodes=2))
        == 2
    )


def test_vla_eval_gets_the_missing_episodes_only():
    evaluation = protocol("bridge")
    missing = [each for each in chosen(evaluation) if each.entry in (1, 3) and each.state > 20]
    config = harness_config(evaluation, missing, URL, other=None)
    assert [each["name"] for each in config["benchmarks"]] == ["entry1", "entry3"]
    eggplant = config["benchmarks"][1]
    assert eggplant["max_steps"] == 120 and eggplant["episodes_per_task"] == 1
    assert eggplant["params"]["episodes"] == [
        {"task": 0, "state": state, "number": 72 + state} for state in (21, 22, 23)
    ]
    assert eggplant["params"]["params"]["task_name"] == "widowx_put_eggplant_in_basket"


def test_a_container_gets_what_it_needs_and_draws_for_itself():
    evaluation = protocol("libero-10", {"runs": {"container": "libero:1"}})
    config = harness_config(evaluation, chosen(evaluation)[:1], URL, other=None)
    assert config["docker"]["image"] == "libero:1"
    assert config["docker"]["env"] == ["PYTHONPATH=/opt/vlm4vla"]
    params = config["benchmarks"][0]["params"]
    assert params["adapter"].startswith("vla_eval.") and "look_every" not in params["params"]
    command = simulator_command(evaluation.simulator, "c.yaml", "out", "e")
    assert "--no-docker" not in command


def test_a_server_of_others_sees_every_picture_and_sends_what_it_likes():
    other = OtherPolicy(
        command=["serve", "{host}:{port}"], checkpoint="c", execution_horizon=5, unnormalisation="quantile"
    )
    evaluation = protocol("libero-10")
    ours, theirs = (
        harness_config(evaluation, chosen(evaluation)[:1], URL, other=each)["benchmarks"][0]["params"]
        for each in (None, other)
    )
    assert ours["params"]["look_every"] == 2 and theirs["params"]["look_every"] == 1
    assert ours["sends"]["gripper"] == "binary_close_positive" and "sends" not in theirs


def test_another_environment_runs_the_simulator():
    evaluation = protocol("libero-10", {"runs": {"environment": "/somewhere/venv"}})
    assert simulator_command(evaluation.simulator, "c", "o", "e")[0] == "/somewhere/venv/bin/python"
