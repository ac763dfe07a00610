"""One tiny backbone of each family, and pictures and instructions of differing lengths."""

import numpy as np
import pytest
import torch

from vlm4vla.backbones import FAMILIES, build
from vlm4vla.config import Backbone, TinySize

SENTENCE = "pick up the red green blue block and put it in drawer where is ? describe <loc3> <loc4>"
WORDS = SENTENCE.split()
SIZE = TinySize(
    hidden=32, intermediate=48, heads=4, layers=3, vision_hidden=32, vision_intermediate=48,
    experts=4, experts_per_token=2,
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make(family: str, seed: int = 0):
    settings = Backbone(family=family, parameters_b=1, tiny=SIZE, pretraining="any")
    return build(settings, family, WORDS, 64, seed)


@pytest.fixture(params=FAMILIES, scope="session")
def family(request):
    return request.param


@pytest.fixture(scope="session")
def backbone(family):
    """Shared: tests must not change its weights."""
    return make(family)


@pytest.fixture
def fresh(family):
    """A builder of backbones whose weights a test may change."""
    return lambda seed=0: make(family, seed)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def instructions():
    return ["pick up the red block and put it in the drawer", "pick up the green block", "drawer"]
