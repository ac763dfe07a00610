"""A policy that samples: its noise belongs to the episode, not to the company that the episode keeps."""

import numpy as np
import pytest

from vlm4vla.evaluation.rollouts.actors import Vla


class Sampling:
    """Stands for a policy: it remembers what it was asked."""

    chunk = 4

    class head:
        reads_state = True
        samples = True

    def __init__(self):
        self.asked = []

    def predict(self, images, instructions, states, noise):
        self.asked.append((states, noise))
        return np.zeros((len(images), self.chunk, 7))


class Standing:
    def __init__(self, number):
        self.number = number

    def state(self):
        return np.full(8, self.number, np.float32)


class Task:
    instruction = "do it"


def ask(rounds, seed=0):
    """Noise by episode, in order, when `rounds` (lists of episodes) are asked one after another."""
    actor = object.__new__(Vla)
    actor.policy, actor.horizon, actor.seed = Sampling(), 2, seed
    actor.forget()
    found = {}
    for episodes in rounds:
        worlds, tasks = [Standing(number) for number in episodes], [Task()] * len(episodes)
        plan = actor.plan(worlds, tasks, episodes, np.zeros((len(episodes), 8, 8, 3)))
        assert plan.shape == (len(episodes), 2, 7)
        states, noise = actor.policy.asked[-1]
        assert states[:, 0].tolist() == episodes
        for number, own in zip(episodes, noise, strict=True):
            found.setdefault(number, []).append(own)
    return found


def test_noise_does_not_depend_on_the_neighbours():
    together = ask([[0, 1, 2], [0, 2], [2]])
    alone = ask([[2], [2], [2]])
    np.testing.assert_array_equal(together[2], alone[2])


def test_noise_is_new_at_every_question_episode_and_seed():
    found, other = ask([[0, 1], [0, 1]]), ask([[0, 1], [0, 1]], seed=1)
    drawn = [noise.tobytes() for by in (found, other) for own in by.values() for noise in own]
    assert len(set(drawn)) == 8
    values = np.concatenate([np.ravel(own) for own in ask([list(range(200))]).values()])
    assert abs(values.mean()) < 0.05 and values.std() == pytest.approx(1, abs=0.05)
