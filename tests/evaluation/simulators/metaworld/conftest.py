"""Demonstrations of the experts on the real MetaWorld, recorded once for all tests."""

import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution

import pytest

# A process has one OpenGL platform, chosen when MuJoCo is first imported. Tests that are left out must not
# choose it.
with suppress(PackageNotFoundError):
    distribution("metaworld")
    os.environ |= {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa", "OMP_NUM_THREADS": "1"}


def pytest_collection_modifyitems(items):
    for item in items:
        if "metaworld" in item.path.parts:
            item.add_marker(pytest.mark.metaworld)


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory):
    """A LeRobot dataset with an episode of each of the ten tasks, and the number of solved episodes."""
    from vlm4vla.evaluation.simulators import metaworld_demonstrations

    folder = tmp_path_factory.mktemp("demonstrations")
    solved = metaworld_demonstrations.record_dataset(folder, tasks=range(10), states=[1000], size=64)
    return folder, solved


@pytest.fixture(scope="module")
def simulator():
    """The class that an evaluation uses."""
    from vlm4vla.evaluation.simulators.metaworld_demonstrations import open_simulator

    made = open_simulator()
    yield made
    made.cleanup()
