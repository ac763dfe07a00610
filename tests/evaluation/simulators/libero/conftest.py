"""Demonstrations on the real simulator, made once for all tests that use them."""

import importlib.util
import os

import pytest
from recorded_tasks import SIZE, STATES, TASKS

# One process holds one OpenGL platform, chosen when MuJoCo is first imported. Where these tests are skipped,
# it is not theirs to choose.
if importlib.util.find_spec("robosuite"):
    os.environ |= {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}


def pytest_collection_modifyitems(items):
    for item in items:
        if "libero" in item.path.parts:
            item.add_marker(pytest.mark.libero)


@pytest.fixture(scope="session", autouse=True)
def one_thread(tmp_path_factory):
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    os.environ["LIBERO_CONFIG_PATH"] = str(tmp_path_factory.mktemp("libero"))  # not the home folder


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory, one_thread):
    """A LeRobot data set of scripted episodes, and how many of six were solved."""
    from vlm4vla.evaluation.simulators import libero_demonstrations

    folder = tmp_path_factory.mktemp("demonstrations")
    solved = libero_demonstrations.collect(folder, tasks=TASKS, states=STATES, size=SIZE)
    return folder, solved
