"""The script in a world of points, where the gripper carries the object that it closes on."""

import numpy as np
import pytest

from vlm4vla.evaluation.simulators.libero_script import TASKS, BasketScript

STEP = 0.05  # metres of an action of 1, as in LIBERO's controller
LIFTED = 0.1


class Points:
    """Objects on a table. An object within 3 cm of the closing gripper follows the gripper until it opens."""

    def __init__(self, task, random):
        names = [item.name for item in task.items]
        self.gripper = np.array([-0.05, 0.0, 0.70])
        self.objects = {name: np.array([*random.uniform(-0.15, 0.05, 2), 0.45]) for name in names}
        self.basket = np.array([0.0, 0.26, 0.43])
        self.held = None
        self.dragged = False

    def observation(self):
        found = {f"{name}_pos": position.copy() for name, position in self.objects.items()}
        return found | {"robot0_eef_pos": self.gripper.copy(), "basket_1_pos": self.basket}

    def step(self, action):
        assert np.abs(action[:6]).max() <= 1 and (action[3:6] == 0).all()
        self.gripper = self.gripper + STEP * action[:3]
        if action[6] < 0:
            if self.held is not None:
                self.objects[self.held][2] = self.basket[2]
            self.held = None
        elif self.held is None:
            near = [n for n, p in self.objects.items() if np.linalg.norm(p - self.gripper) < 0.03]
            self.held = near[0] if near else None
        if self.held is not None:
            position = self.objects[self.held]
            sideways = np.linalg.norm(self.gripper[:2] - position[:2])
            self.dragged |= position[2] < 0.45 + LIFTED and sideways > 0.03
            position[:] = self.gripper


@pytest.mark.parametrize("number", TASKS)
def test_every_object_ends_in_the_basket_and_none_is_dragged(number):
    task = TASKS[number]
    world, script = Points(task, np.random.default_rng(number)), BasketScript(task)
    for _ in range(520):
        action = script(world.observation())
        if action is None:
            break
        world.step(action)
    else:
        pytest.fail("the script did not end within an episode")
    positions = list(world.objects.values())
    assert all(np.linalg.norm(position[:2] - world.basket[:2]) < 0.06 for position in positions)
    assert not world.dragged and world.held is None
    assert np.linalg.norm(positions[0][:2] - positions[1][:2]) > 0.03  # side by side


def test_a_script_continues_when_a_target_cannot_be_reached():
    script, stuck = BasketScript(TASKS[0]), Points(TASKS[0], np.random.default_rng(0)).observation()
    steps = 0
    while script(stuck) is not None:
        steps += 1
        assert steps < 1500
