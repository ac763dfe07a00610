"""The scene of an episode on the real LIBERO simulator does not depend on the episodes before it."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from simulated_episodes import Process, random_actions

SIZE = 48
MUG, DRAWER, STOVE, MICROWAVE = 4, 3, 8, 9  # tasks: no fixture, one that begins open, switched on, open
SUPPORT = Path(__file__).parents[3] / "support"
VLA_EVALS_CLASS = "vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark"


def world(adapter):
    """Joints, places of fixtures, and colours of what can be switched on."""
    sim = adapter._env.sim
    names = ("body_pos", "body_quat", "site_rgba", "geom_rgba")
    found = {name: np.array(getattr(sim.model, name)) for name in names}
    return found | {"qpos": np.array(sim.data.qpos), "qvel": np.array(sim.data.qvel)}


def process(episodes, **changes):
    """A simulator process of an evaluation that plays `episodes`, each (task, state)."""
    simulator = {"render": "cpu", "params": {"image_size": SIZE}, "idle_steps": 2}
    chosen = [(0, *each) for each in episodes]
    return Process("libero-10", chosen, world, simulator, execution_horizon=1, **changes)


@pytest.mark.parametrize("task", [DRAWER, STOVE])
def test_a_state_is_the_same_first_and_after_other_episodes(one_thread, task):
    actions = random_actions(4)
    alone = process([(task, 1)])
    first = alone.play(0, actions)
    after = process([(MUG, 0), (task, 0), (task, 1)])
    after.play(0, actions[:1])  # an episode that ends in its middle
    others = after.play(1, actions[:3])
    later, again = after.play(2, actions), after.play(2, actions)
    samplers = after.wrappers[0]._benchmark._env.env.object_property_initializers
    alone.close()
    after.close()
    for start, end in (later, again):
        assert start.differences(first[0]) == [] and end.differences(first[1]) == []
    assert len(samplers) == 1  # without the repair one more at each reset
    # Fixtures have places of their own in every state, as in the simulator.
    assert "body_pos" in others[0].differences(first[0])


def test_a_state_is_the_same_in_another_process(one_thread):
    ours = process([(MICROWAVE, 2), (DRAWER, 1)])
    here = [ours.play(0, [])[0], ours.play(1, [])[0]]
    ours.close()
    program = (
        "import sys, json; sys.path[:0] = sys.argv[1:3]\n"
        "from test_scenes import digests, process\n"
        "run = process([(3, 0), (3, 1), (9, 2)])\n"
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


def test_two_evaluation_seeds_are_two_scenes(one_thread):
    one = process([(DRAWER, 1)]).play(0, [])[0]
    simulator = {"render": "cpu", "params": {"image_size": SIZE}, "idle_steps": 2, "environment_seed": 5}
    other = Process("libero-10", [(0, DRAWER, 1)], world, simulator, execution_horizon=1).play(0, [])[0]
    assert {"body_pos", "image"} <= set(other.differences(one))


def test_vla_evals_own_class_is_seeded_too(one_thread):
    """In a container, the wrapper runs vla-eval's class, which seeds a task only when it opens it."""
    adapter = (VLA_EVALS_CLASS, {"num_steps_wait": 1}, ("image_size", "look_every"))
    first = process([(STOVE, 1)], adapter=adapter)
    alone = first.play(0, [])[0]
    first.close()
    after = process([(STOVE, 0), (STOVE, 1)], adapter=adapter)
    after.play(0, random_actions(1))
    assert after.play(1, [])[0].differences(alone) == []
    after.close()
