"""An episode on the real MetaWorld depends on its seed, task and initial state only."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from simulated_episodes import Process, random_actions

SUPPORT = Path(__file__).parents[3] / "support"


def world(adapter):
    """The joints, the places of the objects and goals, and the target of the hand."""
    model, data = adapter._env.model, adapter._env.data
    found = {name: np.array(getattr(model, name)) for name in ("body_pos", "body_quat", "site_pos")}
    return found | {name: np.array(getattr(data, name)) for name in ("qpos", "qvel", "mocap_pos")}


def process(episodes, **simulator):
    """A simulator process of an evaluation that plays `episodes`, each (task, state)."""
    settings = {"render": "cpu", "params": {"image_size": 48}} | simulator
    return Process("metaworld", [(0, *each) for each in episodes], world, settings, execution_horizon=1)


@pytest.mark.parametrize("task", range(10))
def test_a_state_is_the_same_first_and_after_other_episodes(task):
    actions = random_actions(30)
    alone = process([(task, 1)])
    first = alone.play(0, actions)
    alone.close()
    after = process([((task + 1) % 10, 0), (task, 0), (task, 1)])
    after.play(0, actions[:3])  # an episode that ends in its middle
    other = after.play(1, actions)
    for start, end in (after.play(2, actions), after.play(2, actions)):
        assert start.differences(first[0]) == [] and end.differences(first[1]) == []
    after.close()
    assert "image" in other[0].differences(first[0])  # another initial state is another scene


def test_a_state_is_the_same_in_another_process():
    ours = process([(8, 2), (3, 1)])
    here = [ours.play(0, [])[0], ours.play(1, [])[0]]
    ours.close()
    program = (
        "import sys, json; sys.path[:0] = sys.argv[1:3]\n"
        "from test_metaworld_scenes import digests, process\n"
        "run = process([(3, 0), (3, 1), (8, 2)])\n"
        "run.play(0, [])\n"
        "found = [run.play(2, [])[0], run.play(1, [])[0]]\n"
        "print('\\n' + json.dumps([digests(each) for each in found]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(SUPPORT)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [digests(each) for each in here]


def digests(seen):
    named = {"image": seen.image, "state": seen.state} | seen.world
    return {name: sha256(np.ascontiguousarray(value).tobytes()).hexdigest() for name, value in named.items()}


def test_other_seeds_are_other_scenes():
    one, other = (process([(1, 1)], environment_seed=seed).play(0, [])[0] for seed in (0, 5))
    assert {"body_pos", "image"} <= set(other.differences(one))


def test_no_initial_state_of_evaluations_is_one_of_demonstrations():
    """Each of 40 states of each kind is a scene of its own."""
    states = [*range(40), *range(1000, 1040)]
    run = process([(1, state) for state in states])
    adapter = run.wrappers[0]._benchmark
    places = []
    for number in range(len(states)):
        _, task = run.tasks[number]
        adapter.reset(dict(task, episode_idx=task["state"]))
        places.append(adapter._env._last_rand_vec.tobytes())
    run.close()
    assert len(set(places)) == len(states)
