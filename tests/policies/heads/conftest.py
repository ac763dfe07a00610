"""Fixtures shared by the tests of action heads."""

import numpy as np
import pytest
import torch
from expert_policies import CHUNK, INSTRUCTIONS, make


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def make_policy():
    return make


@pytest.fixture
def targets():
    """Two samples; the second has two padded steps."""
    rng = np.random.default_rng(1)
    return {
        "pose": torch.from_numpy(rng.uniform(-1, 1, (2, CHUNK, 6)).astype(np.float32)),
        "gripper": torch.tensor([[0, 1, 1], [1, 0, 0]]),
        "mask": torch.tensor([[1, 1, 1], [1, 0, 0]]),
        "state": torch.from_numpy(rng.normal(size=(2, 8)).astype(np.float32)),
        "plan": torch.tensor([[[0.1, 0.9], [0.5, 0.5]], [[0.99, 0.0], [1.2, -0.3]]]),
    }


@pytest.fixture
def inputs(images):
    """A function that builds the batch of a policy's prompts."""
    return lambda policy: policy.backbone.batch(
        [policy.backbone.prompt_ids(text) for text in INSTRUCTIONS], images
    )
