"""An episode on the real SimplerEnv does not depend on the episodes before it."""

import numpy as np
import pytest
from simulated_episodes import Process, random_actions

TASKS = {"widowx_carrot_on_plate": 60, "widowx_stack_cube": 60}


def world(adapter):
    """Poses and velocities of all objects, and the robot's joints."""
    scene = adapter._env.unwrapped
    found = [*scene.agent.robot.get_qpos(), *scene.agent.robot.get_qvel()]
    for actor in sorted(scene._scene.get_all_actors(), key=lambda each: each.name):
        found.extend([*actor.pose.p, *actor.pose.q])
    return {"world": np.array(found)}


@pytest.mark.parametrize("entry", range(len(TASKS)))
def test_a_state_is_the_same_first_and_after_other_episodes(simplerenv, entry):
    chosen = [(entry, 0, 1), (entry, 0, 0), (1 - entry, 0, 1)]
    actions = random_actions(10, size=0.02)
    alone = Process("bridge", chosen[:1], world, {"tasks": TASKS, "params": {}})
    first = alone.play(0, actions)
    alone.close()
    after = Process("bridge", chosen, world, {"tasks": TASKS, "params": {}})
    after.play(1, actions[:3])  # an episode that ends in its middle
    after.play(2, actions)
    start, end = after.play(0, actions)
    after.close()
    assert start.differences(first[0]) == [] and end.differences(first[1]) == []
