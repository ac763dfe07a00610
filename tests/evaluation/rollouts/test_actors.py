"""The noise of a policy that samples depends on the episode, not on the other episodes of the batch."""

import numpy as np
import pytest

from vlm4vla.evaluation.rollouts.actors import PredictingActor


class SamplingPolicy:
    """A stand-in for a policy that keeps its inputs."""

    chunk = 4
    noise_shape = (4, 7)
    reads_state = samples = True

    def __init__(self):
        self.inputs = []

    def predict(self, images, instructions, states, noise):
        self.inputs.append((states, noise))
        return np.zeros((len(images), self.chunk, 7))


class World:
    def __init__(self, number):
        self.number = number

    def state(self):
        return np.full(8, self.number, np.float32)


class Task:
    instruction = "do it"


def noise_by_episode(batches, seed=0):
    """The noise of each episode, in order. `batches` (lists of episodes) are planned one after another."""
    actor = PredictingActor(SamplingPolicy(), 2, seed)
    found = {}
    for episodes in batches:
        worlds, tasks = [World(number) for number in episodes], [Task()] * len(episodes)
        plan = actor.plan(worlds, tasks, episodes, np.zeros((len(episodes), 8, 8, 3)))
        assert plan.shape == (len(episodes), 2, 7)
        states, noise = actor.policy.inputs[-1]
        assert states[:, 0].tolist() == episodes
        for number, own in zip(episodes, noise, strict=True):
            found.setdefault(number, []).append(own)
    return found


def test_noise_does_not_depend_on_the_other_episodes():
    together = noise_by_episode([[0, 1, 2], [0, 2], [2]])
    alone = noise_by_episode([[2], [2], [2]])
    np.testing.assert_array_equal(together[2], alone[2])


def test_noise_differs_between_plans_episodes_and_seeds():
    found = noise_by_episode([[0, 1], [0, 1]])
    other = noise_by_episode([[0, 1], [0, 1]], seed=1)
    drawn = [noise.tobytes() for by in (found, other) for own in by.values() for noise in own]
    assert len(set(drawn)) == 8
    values = np.concatenate([np.ravel(own) for own in noise_by_episode([list(range(200))]).values()])
    assert abs(values.mean()) < 0.05 and values.std() == pytest.approx(1, abs=0.05)
