"""An episode on the real CALVIN simulator does not depend on the episodes before it."""

import numpy as np
import pytest
from simulated_episodes import Process, random_actions

CHAINS = 3


def world(adapter):
    """Poses and velocities of everything, the joints, the lights and the buttons."""
    table = adapter._env.env
    found = []
    for body in range(table.p.getNumBodies(physicsClientId=table.cid)):
        for part in table.p.getBasePositionAndOrientation(body, physicsClientId=table.cid):
            found.extend(part)
        for part in table.p.getBaseVelocity(body, physicsClientId=table.cid):
            found.extend(part)
        for joint in range(table.p.getNumJoints(body, physicsClientId=table.cid)):
            found.extend(table.p.getJointState(body, joint, physicsClientId=table.cid)[:2])
    states = [each.state.value for each in (*table.scene.lights, *table.scene.buttons, *table.scene.switches)]
    return {"world": np.array(found), "lights and buttons": np.array(states)}


@pytest.fixture
def process(validation):
    """A simulator process of an evaluation, which plays the first chains."""
    simulator = {"params": {"dataset_path": validation}, "render": "cpu"}
    chosen = [(0, chain, chain) for chain in range(CHAINS)]
    made = Process("calvin", chosen, world, simulator, episodes=CHAINS, max_steps=90)
    yield made
    made.close()


@pytest.mark.parametrize("chain", range(CHAINS))
def test_a_chain_is_the_same_first_and_after_other_chains(process, chain):
    """Strong motion touches things, so contacts that PyBullet keeps would change the end."""
    actions = random_actions(45, seed=chain, size=0.05)
    first = process.play(chain, actions)
    process.play((chain + 1) % CHAINS, actions[:7])  # a chain that ends in its middle, with a closed gripper
    process.play((chain + 2) % CHAINS, actions)
    start, end = process.play(chain, actions)
    assert start.differences(first[0]) == [] and end.differences(first[1]) == []
    assert end.differences(start) != []


def test_the_gripper_of_the_chain_before_is_no_part_of_the_first_state(process):
    opens, closes = ([[0.0] * 6 + [command]] * 3 for command in (1.0, -1.0))
    process.play(0, opens)
    after_open = process.play(1, [])[0]
    process.play(0, closes)
    after_closed = process.play(1, [])[0]
    assert after_closed.state.tolist() == after_open.state.tolist()
    assert after_open.state[-1] == 1
