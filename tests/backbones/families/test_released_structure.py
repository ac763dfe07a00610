"""At 224 pixels and with the released patches, merging and windows, we compute what transformers computes."""

import numpy as np
import pytest
import torch
from own_forward import own_forward
from shrunk_backbones import save_shrunk

from vlm4vla.backbones import load
from vlm4vla.backbones.checkpoint import check_folder
from vlm4vla.workflow.estimate.published_configs import published_configs

# One of each structure: sizes within a family differ in widths and depths only.
MODELS = {
    "Qwen/Qwen2.5-VL-3B-Instruct": (224, 64),
    "Qwen/Qwen3-VL-4B-Instruct": (256, 64),  # its processor makes no picture smaller than 256 x 256
    "Qwen/Qwen3-VL-30B-A3B-Instruct": (256, 64),
    "google/paligemma-3b-pt-224": (224, 256),
    "google/paligemma2-3b-pt-224": (224, 256),
    "microsoft/kosmos-2-patch14-224": (224, 64),
    "OpenGVLab/InternVL3_5-4B-HF": (448, 256),
}
TOLERANCE = 2e-5


@pytest.fixture(params=MODELS, scope="module")
def hub(request):
    return request.param


@pytest.fixture(scope="module")
def folder(hub, tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / "folder"
    torch.manual_seed(0)
    save_shrunk(published_configs()[hub], path)
    return path


@pytest.fixture(scope="module")
def released(folder):
    return load(folder)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def test_size_and_tokens(hub, released):
    assert (released.image_size, released.adapter.image_tokens) == MODELS[hub]


def test_query_state_is_that_of_transformers(folder, released, pictures, instructions):
    generator = torch.Generator().manual_seed(5)
    query = torch.randn(released.hidden_size, generator=generator) * 0.3
    ids = [released.prompt_ids(text) for text in instructions[:2]]
    with torch.no_grad():
        ours = released.hidden(released.batch(ids, pictures), query)
    for row, image, state in zip(ids, pictures, ours, strict=True):
        theirs = own_forward(released, folder, row, image, query)
        assert torch.allclose(state, theirs, rtol=0, atol=TOLERANCE)
    assert (ours[0] - ours[1]).abs().max() > 1e-3  # the comparison above is not of constants


def test_the_picture_matters(released, pictures, instructions):
    query = torch.full((released.hidden_size,), 0.3)
    ids = [released.prompt_ids(instructions[0])]
    with torch.no_grad():
        states = [released.hidden(released.batch(ids, pictures[i : i + 1]), query) for i in range(2)]
    assert (states[0] - states[1]).abs().max() > 1e-6


def test_a_picture_of_another_grid_is_refused(hub, released, instructions):
    if not hub.startswith("Qwen"):
        pytest.skip("its processor makes one size of all pictures")
    picture = np.zeros((1, 336, 336, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="resize them to 224x224 first"):
        released.batch([released.prompt_ids(instructions[0])], picture)


def test_a_folder_is_checked_without_its_weights(folder):
    check_folder(folder)
