"""Idle steps between actions, on the real LIBERO simulator, against the loop of the released code."""

import numpy as np
import pytest

from vlm4vla.evaluation.simulators.libero_demonstrations import open_simulator

IDLE = [0.0] * 6 + [-1.0]
STEPS = 8  # of the policy: five with idle steps between them, and three more


@pytest.fixture(scope="module")
def simulator(one_thread):
    made = open_simulator(idle_steps=5)
    yield made
    made.cleanup()


@pytest.fixture(scope="module")
def actions():
    random = np.random.default_rng(0)
    return [[*random.uniform(-0.4, 0.4, 6), float(random.choice([-1.0, 1.0]))] for _ in range(STEPS)]


def play(simulator, actions, interleaved):
    """The joint positions that the policy sees before each action, and what the simulator receives."""
    described = {**simulator.get_tasks()[0], "episode_idx": 0}
    simulator.interleaved = interleaved
    sent = []
    raw = simulator.reset(described)
    environment = simulator._env
    step = environment.step

    def recorded(action):
        sent.append(list(map(float, action)))
        return step(action)

    environment.step = recorded
    try:
        seen = []
        for action in actions:
            seen.append(raw["robot0_joint_pos"].copy())
            raw = simulator.step({"actions": np.asarray(action)}).obs
    finally:
        environment.step = step
    return np.array(seen), sent


def loop(simulator, actions):
    """The loop written out: while fewer than ten steps are counted, an idle step precedes each action."""
    described = {**simulator.get_tasks()[0], "episode_idx": 0}
    waits, simulator.num_steps_wait = simulator.num_steps_wait, 0
    raw = simulator.reset(described)
    simulator.num_steps_wait = waits
    seen, counted = [], 0
    for action in actions:
        if counted < 10:
            raw, _, _, _ = simulator._env.step(IDLE)
            counted += 1
        seen.append(raw["robot0_joint_pos"].copy())
        raw, _, _, _ = simulator._env.step(list(action))
        counted += 1
    return np.array(seen)


def test_interleaved_idle_steps_follow_the_loop(simulator, actions):
    seen, sent = play(simulator, actions, interleaved=True)
    np.testing.assert_allclose(seen, loop(simulator, actions), rtol=0, atol=1e-12)
    idle = [index for index, action in enumerate(sent) if action == IDLE]
    assert idle == [1, 3, 5, 7]  # the first idle step belongs to the reset
    assert len(sent) == STEPS + 4


def test_by_default_all_idle_steps_come_first(simulator, actions):
    interleaved, _ = play(simulator, actions, interleaved=True)
    seen, sent = play(simulator, actions, interleaved=False)
    assert IDLE not in sent and len(sent) == STEPS
    assert np.abs(seen - interleaved).max() > 1e-4
