"""More scripted tasks, and LIBERO-PRO's variations, on the real LIBERO simulator."""

from pathlib import Path

import pytest
from simulated_episodes import Process

from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.evaluation.simulators.libero_demonstrations import Scene, open_simulator
from vlm4vla.evaluation.simulators.libero_script import TASKS, TaskScript

SUITES = dict(KNOWN["libero"].variations)
BOOK, MUG_AND_PUDDING = 5, 6
STEPS = 400


def stated(task):
    """The instruction of a task as LIBERO's own parser reads it."""
    from libero.libero import get_libero_path
    from libero.libero.envs.bddl_utils import get_problem_info

    described = task["task_obj"]
    folder = Path(get_libero_path("bddl_files")) / described.problem_folder
    return get_problem_info(str(folder / described.bddl_file))["language_instruction"]


def is_solved(simulator, task, state, script):
    described = {**simulator.get_tasks()[task], "episode_idx": state}
    raw, script = simulator.reset(described), TaskScript(TASKS[script])
    for _ in range(STEPS):
        action = script(Scene(raw, simulator))
        if action is None:
            return False
        result = simulator.step({"actions": action})
        raw = result.obs
        if result.done:
            return True
    return False


def suite(variation):
    """The adapter of an evaluation on `variation`, or on the plain tasks."""
    simulator = {"render": "cpu", "params": {"image_size": 16}, "variation": variation}
    return Process("libero-10", [(0, 0, 0)], lambda adapter: {}, simulator).wrappers[0]._benchmark


@pytest.mark.parametrize("task", [BOOK, MUG_AND_PUDDING])
def test_the_script_solves_tasks_with_other_skills(one_thread, task):
    simulator = open_simulator()
    solved = [is_solved(simulator, task, state, task) for state in (0, 31)]
    simulator.cleanup()
    assert solved == [True, True]


def test_policies_get_the_instruction_of_the_scene(one_thread):
    plain = suite(None)
    names = [task["name"] for task in plain.get_tasks()]
    assert [plain.instruction(task) for task in plain.get_tasks()] == names
    for variation in SUITES:
        varied = suite(variation)
        tasks = varied.get_tasks()
        assert [task["name"] for task in tasks] == names  # the same tasks, in the same order
        instructions = [varied.instruction(task) for task in tasks]
        assert instructions == [stated(task) for task in tasks]
        changed = [own != name for own, name in zip(instructions, names, strict=True)]
        assert all(changed) if variation in ("language", "task") else not any(changed)


def test_another_task_in_the_same_scene_has_another_goal(one_thread):
    """The script of the plain task moves the book, but the variation asks for the cup."""
    varied = suite("task")
    described = {**varied.get_tasks()[BOOK], "episode_idx": 0}
    seen = varied.make_obs(varied.reset(described), described)
    assert seen["task_description"] == "pick up the cup and place it in the back compartment of the caddy"
    assert not is_solved(varied, BOOK, 0, BOOK)
    varied.cleanup()


def test_objects_in_other_places_are_reached_by_the_same_script(one_thread):
    """In this task, the pudding and a mug that is not moved have exchanged their places."""
    plain, varied = open_simulator(), suite("position")
    places = []
    for simulator in (plain, varied):
        simulator.reset({**simulator.get_tasks()[MUG_AND_PUDDING], "episode_idx": 0})
        places.append(simulator.position("chocolate_pudding_1_main"))
    plain.cleanup()
    assert abs(places[0] - places[1]).max() > 0.1
    assert is_solved(varied, MUG_AND_PUDDING, 0, MUG_AND_PUDDING)
    varied.cleanup()
