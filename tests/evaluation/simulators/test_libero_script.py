"""The script on a world of points: the hand moves as told, and carries what its fingers close on."""

import numpy as np
import pytest

from vlm4vla.evaluation.simulators.libero_script import TASKS, Script

STEP = 0.05  # metres of an action of 1, as LIBERO's controller has it
LIFTED = 0.1


class Points:
    """Things on a table; one that the fingers close on within 3 cm follows the hand until they open."""

    def __init__(self, task, random):
        names = [thing.name for thing in task.things]
        self.hand = np.array([-0.05, 0.0, 0.70])
        self.things = {name: np.array([*random.uniform(-0.15, 0.05, 2), 0.45]) for name in names}
        self.basket = np.array([0.0, 0.26, 0.43])
        self.held = None
        self.dragged = False

    def seen(self):
        found = {f"{name}_pos": place.copy() for name, place in self.things.items()}
        return found | {"robot0_eef_pos": self.hand.copy(), "basket_1_pos": self.basket}

    def step(self, action):
        assert np.abs(action[:6]).max() <= 1 and (action[3:6] == 0).all()
        self.hand = self.hand + STEP * action[:3]
        if action[6] < 0:
            if self.held is not None:
                self.things[self.held][2] = self.basket[2]
            self.held = None
        elif self.held is None:
            near = [n for n, p in self.things.items() if np.linalg.norm(p - self.hand) < 0.03]
            self.held = near[0] if near else None
        if self.held is not None:
            place = self.things[self.held]
            self.dragged |= place[2] < 0.45 + LIFTED and np.linalg.norm(self.hand[:2] - place[:2]) > 0.03
            place[:] = self.hand


@pytest.mark.parametrize("number", TASKS)
def test_every_thing_ends_in_the_basket_and_none_is_dragged(number):
    task = TASKS[number]
    world, script = Points(task, np.random.default_rng(number)), Script(task)
    for _ in range(520):
        action = script(world.seen())
        if action is None:
            break
        world.step(action)
    else:
        pytest.fail("the script did not end within an episode")
    places = [place for place in world.things.values()]
    assert all(np.linalg.norm(place[:2] - world.basket[:2]) < 0.06 for place in places)
    assert not world.dragged and world.held is None
    assert np.linalg.norm(places[0][:2] - places[1][:2]) > 0.03  # beside each other


def test_a_script_goes_on_when_a_point_cannot_be_reached():
    script, stuck = Script(TASKS[0]), Points(TASKS[0], np.random.default_rng(0)).seen()
    steps = 0
    while script(stuck) is not None:
        steps += 1
        assert steps < 1500
