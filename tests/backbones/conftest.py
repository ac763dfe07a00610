"""One tiny backbone of each family, images, and instructions of different lengths."""

import numpy as np
import pytest
import torch
from tiny_backbones import make

from vlm4vla.core.registry import FAMILIES


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(params=FAMILIES, scope="session")
def family(request):
    return request.param


@pytest.fixture(scope="session")
def backbone(family):
    """Shared: tests must not change its weights."""
    return make(family)


@pytest.fixture
def fresh(family):
    """A function that builds backbones whose weights a test may change."""
    return lambda seed=0: make(family, seed)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def instructions():
    return ["pick up the red block and put it in the drawer", "pick up the green block", "drawer"]
