"""The script in a world of points, where the gripper carries the object that it closes on."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vlm4vla.evaluation.simulators.libero_script import TASKS, Placing, TaskScript, Turning, rotation_to

STEP = 0.05  # metres of an action of 1, as in LIBERO's controller
ANGLE = 0.5  # radians of an action of 1
LIFTED = 0.1
DOWN = Rotation.from_euler("x", np.pi)  # of a gripper at the start of an episode, but for a few degrees


class Points:
    """Objects on a table. One follows the gripper if its grip is within 3 cm when the gripper closes."""

    def __init__(self, task, random):
        self.skills = [skill for skill in task.skills if isinstance(skill, Placing)]
        self.knobs = {skill.item: 0.0 for skill in task.skills if isinstance(skill, Turning)}
        self.grips = {skill.item: np.array(skill.grip) for skill in task.skills}
        self.gripper = np.array([-0.05, 0.0, 0.90])
        self.rotation = Rotation.from_euler("y", 0.06) * DOWN
        self.objects = {}
        for place, name in enumerate(self.grips):
            self.objects[name] = np.array([-0.2 + 0.2 * place, *random.uniform(-0.15, 0.05, 1), 0.45])
        self.goals = {skill.goal: np.array([0.0, 0.26, 0.43]) for skill in self.skills}
        self.yaw = random.uniform(np.pi / 2, np.pi)  # of the objects
        self.held, self.dragged, self.aligned = None, False, []

    def observation(self):
        found = {f"{name}_pos": position.copy() for name, position in (self.objects | self.goals).items()}
        quaternion = Rotation.from_euler("z", self.yaw).as_quat()
        found |= {f"{name}_quat": quaternion for name in self.objects}
        return found | {
            "robot0_eef_pos": self.gripper.copy(),
            "robot0_eef_quat": self.rotation.as_quat(),
        }

    def step(self, action):
        assert np.abs(action[:6]).max() <= 1
        self.gripper = self.gripper + STEP * action[:3]
        turned = Rotation.from_rotvec(ANGLE * action[3:6])
        self.rotation = turned * self.rotation
        if action[6] < 0:
            self.held = None
        elif self.held is None:
            near = [n for n in self.grips if np.linalg.norm(self._grip(n) - self.gripper) < 0.03]
            self.held = near[0] if near else None
            fingers = self.rotation.apply([0, 1, 0])  # they open along y of the gripper
            self.aligned += [float(fingers @ [np.cos(self.yaw), np.sin(self.yaw), 0])] if near else []
        if self.held in self.knobs:
            self.knobs[self.held] += turned.as_rotvec()[2]
        elif self.held is not None:
            position = self.objects[self.held]
            sideways = np.linalg.norm(self.gripper[:2] - self._grip(self.held)[:2])
            self.dragged |= bool(position[2] < 0.45 + LIFTED and sideways > 0.03)
            position[:] = self.gripper - self.grips[self.held]

    def _grip(self, name):
        return self.objects[name] + self.grips[name]


@pytest.mark.parametrize("number", TASKS)
def test_every_object_ends_at_its_goal_and_none_is_dragged(number):
    task = TASKS[number]
    world, script = Points(task, np.random.default_rng(number)), TaskScript(task)
    for _ in range(520):
        action = script(world.observation())
        if action is None:
            break
        world.step(action)
    else:
        pytest.fail("the script did not end within an episode")
    for skill in world.skills:
        end = world.goals[skill.goal] + skill.put - world.grips[skill.item]
        assert np.linalg.norm(world.objects[skill.item] - end) < 0.02
        assert np.linalg.norm((end - world.goals[skill.goal])[:2]) < 0.06
    assert not world.dragged and world.held is None
    positions = [world.objects[skill.item] for skill in world.skills]
    goals = {skill.goal for skill in world.skills}
    if len(positions) > len(goals):
        assert np.linalg.norm(positions[0][:2] - positions[1][:2]) > 0.03  # side by side
    assert all(angle == pytest.approx(1.2, abs=0.15) for angle in world.knobs.values())


def test_the_book_is_gripped_across_its_cover():
    for seed in range(4):
        world, script = Points(TASKS[5], np.random.default_rng(seed)), TaskScript(TASKS[5])
        while not world.aligned:
            world.step(script(world.observation()))
        assert abs(world.aligned[0]) > 0.99


def test_the_rotation_to_a_turn_is_that_of_scipy():
    random = np.random.default_rng(0)
    for _ in range(20):
        turn = random.uniform(-2, 2)
        wanted = Rotation.from_euler("z", turn) * DOWN
        tilted = Rotation.from_rotvec(random.normal(0, 0.4, 3)) * wanted
        vector = (wanted * tilted.inv()).as_rotvec()
        angle = np.linalg.norm(vector)
        expected = vector / angle * 2 * np.sin(angle / 2)
        for quaternion in (tilted.as_quat(), -tilted.as_quat()):
            np.testing.assert_allclose(rotation_to(turn, quaternion), expected, atol=1e-9)


def test_a_script_continues_when_a_target_cannot_be_reached():
    script, stuck = TaskScript(TASKS[0]), Points(TASKS[0], np.random.default_rng(0)).observation()
    steps = 0
    while script(stuck) is not None:
        steps += 1
        assert steps < 1500
