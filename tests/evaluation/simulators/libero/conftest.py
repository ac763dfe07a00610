"""Demonstrations on the real simulator, recorded once for all tests."""

import importlib.util
import os

import pytest
from recorded_tasks import SIZE, STATES, TASKS

# A process has one OpenGL platform, chosen when MuJoCo is first imported. Tests that are skipped must
# not choose it.
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
    """A LeRobot dataset of scripted episodes, and the number of solved episodes out of six."""
    from vlm4vla.evaluation.simulators import libero_demonstrations

    folder = tmp_path_factory.mktemp("demonstrations")
    solved = libero_demonstrations.record_dataset(folder, tasks=TASKS, states=STATES, size=SIZE)
    return folder, solved
