"""Seeds of single episodes, and what simulators keep from one episode to the next."""

import random

import numpy as np
import pytest

from vlm4vla.evaluation.simulators.episodes import SimulatorEpisode
from vlm4vla.evaluation.simulators.harness import INSIDE, harness_config


@pytest.fixture
def seeds(monkeypatch):
    monkeypatch.syspath_prepend(str(INSIDE))
    import vlm4vla_seeds

    return vlm4vla_seeds


def test_every_episode_has_its_own_seed(seeds):
    every = [(seed, task, state) for seed in (0, 1, 7, -1) for task in range(10) for state in range(50)]
    found = [seeds.episode_seed(*each) for each in every]
    assert len(set(found)) == len(every)
    assert all(0 <= each < 2**32 for each in found)  # what numpy's generator takes
    assert found == [seeds.episode_seed(*each) for each in reversed(every)][::-1]


def test_the_seed_is_that_of_numpys_seed_sequence(seeds):
    """A known value, so that episodes stay as they are in studies that are half finished."""
    assert seeds.episode_seed(7, 3, 1) == np.random.SeedSequence([7, 3, 1]).generate_state(1)[0] == 1060801321


def test_all_generators_are_seeded(seeds):
    import torch

    def draw():
        return random.random(), np.random.uniform(), float(torch.rand(1))

    seeds.seed_generators(5)
    first = draw()
    draw()
    seeds.seed_generators(5)
    assert draw() == first
    seeds.seed_generators(6)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


class Kitchen:
    """Like LIBERO's environment: each reset appends, and draws one number for each entry."""

    def __init__(self):
        self.object_property_initializers = []

    def reset(self):
        self.object_property_initializers.append("drawer")
        for _ in self.object_property_initializers:
            np.random.uniform()
        return np.random.uniform()


class Wrapped:
    def __init__(self, env):
        self.env = env


@pytest.mark.parametrize("wrap", [lambda env: env, Wrapped])
def test_a_list_that_grows_at_each_reset_is_emptied(seeds, wrap):
    kitchen = Kitchen()
    places = []
    for _ in range(3):
        seeds.forget_episodes(wrap(kitchen))
        seeds.seed_generators(1)
        places.append(kitchen.reset())
    assert len(set(places)) == 1 and len(kitchen.object_property_initializers) == 1
    seeds.seed_generators(1)
    assert kitchen.reset() != places[0]  # what a seed alone does


class PlayTableSimEnv:
    """Like CALVIN's environment: the robot keeps its last gripper command."""

    def __init__(self):
        self.robot = type("Robot", (), {"gripper_action": 1})()
        self.loaded = 0

    def load(self):
        self.loaded += 1


def test_calvins_world_is_loaded_again(seeds):
    table = PlayTableSimEnv()
    table.robot.gripper_action = -1
    seeds.forget_episodes(Wrapped(table))
    assert table.loaded == 1 and table.robot.gripper_action == 1


def test_environments_without_such_a_list_stay_as_they_are(seeds):
    for environment in (None, object(), Wrapped(None), Wrapped(Wrapped(None))):
        seeds.forget_episodes(environment)


def test_a_simulator_process_knows_the_seed_of_its_evaluation():
    from simulator_examples import protocol

    evaluation = protocol("calvin", seed=11)
    config = harness_config(evaluation, [SimulatorEpisode(0, 0, 0, 0)], "", external=None)
    assert config["benchmarks"][0]["params"]["seed"] == 11
