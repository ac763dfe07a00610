"""Comparison with transformers at 224 pixels, with the patches, merging and windows of released models."""

import numpy as np
import pytest
import torch
from own_forward import own_forward
from shrunk_backbones import save_shrunk

from vlm4vla.backbones import load
from vlm4vla.backbones.checkpoint import check_folder
from vlm4vla.workflow.estimate.published_configs import published_configs

# One model of each structure: the sizes of a family differ only in widths and depths.
MODELS = {
    "Qwen/Qwen2.5-VL-3B-Instruct": (224, 64),
    "Qwen/Qwen3-VL-4B-Instruct": (256, 64),  # its processor enlarges images to at least 256 x 256
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
def square_images():
    return np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def test_size_and_tokens(hub, released):
    assert (released.image_size, released.adapter.image_tokens) == MODELS[hub]


def test_query_state_equals_that_of_transformers(folder, released, square_images, instructions):
    generator = torch.Generator().manual_seed(5)
    query = torch.randn(released.hidden_size, generator=generator) * 0.3
    ids = [released.prompt_ids(text) for text in instructions[:2]]
    with torch.no_grad():
        ours = released.hidden(released.batch(ids, square_images), query)
    for row, image, state in zip(ids, square_images, ours, strict=True):
        theirs = own_forward(released, folder, row, image, query)
        assert torch.allclose(state, theirs, rtol=0, atol=TOLERANCE)
    assert (ours[0] - ours[1]).abs().max() > 1e-3  # the states above are not constant


def test_the_image_matters(released, square_images, instructions):
    query = torch.full((released.hidden_size,), 0.3)
    ids = [released.prompt_ids(instructions[0])]
    with torch.no_grad():
        states = [released.hidden(released.batch(ids, square_images[i : i + 1]), query) for i in range(2)]
    assert (states[0] - states[1]).abs().max() > 1e-6


def test_an_image_with_another_grid_is_rejected(hub, released, instructions):
    if not hub.startswith("Qwen"):
        pytest.skip("its processor resizes all images to one size")
    image = np.zeros((1, 336, 336, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="resize them to 224x224 first"):
        released.batch([released.prompt_ids(instructions[0])], image)


def test_a_folder_is_checked_without_loading_weights(folder):
    check_folder(folder)
