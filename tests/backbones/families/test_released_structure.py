"""Comparison with transformers at 224 pixels, with the patches, merging and windows of released models."""

import numpy as np
import pytest
import torch
from own_forward import own_forward
from shrunk_backbones import save_shrunk

from vlm4vla.backbones import load
from vlm4vla.backbones.checkpoint import check_folder
from vlm4vla.backbones.pixel_bounds import write_pixel_bounds
from vlm4vla.config.backbones import PixelBounds
from vlm4vla.workflow.estimate.published_configs import published_configs

STUDY = 28 * 28 * 256  # the study's least number of pixels of an image of a Qwen-VL
# One model of each structure: the sizes of a family differ only in widths and depths. The least number of
# pixels in the configuration (None: the checkpoint's own), image size and image tokens.
MODELS = {
    ("Qwen/Qwen2.5-VL-3B-Instruct", None): (224, 64),
    ("Qwen/Qwen3-VL-4B-Instruct", None): (256, 64),  # its processor enlarges images to at least 256 x 256
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", None): (256, 64),
    ("Qwen/Qwen2.5-VL-3B-Instruct", STUDY): (448, 256),
    ("Qwen/Qwen3-VL-4B-Instruct", STUDY): (448, 196),
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", STUDY): (448, 196),
    ("google/paligemma-3b-pt-224", None): (224, 256),
    ("google/paligemma2-3b-pt-224", None): (224, 256),
    ("microsoft/kosmos-2-patch14-224", None): (224, 64),
    ("OpenGVLab/InternVL3_5-4B-HF", None): (448, 256),
}
TOLERANCE = 2e-5


@pytest.fixture(params=MODELS, ids=lambda case: f"{case[0].split('/')[1]}-{case[1]}", scope="module")
def case(request):
    return request.param


@pytest.fixture(scope="module")
def hub(case):
    return case[0]


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory):
    hub, least = case
    path = tmp_path_factory.mktemp("released") / "folder"
    torch.manual_seed(0)
    save_shrunk(published_configs()[hub], path)
    if least is not None:
        write_pixel_bounds(path, PixelBounds(min=least), "backbones.qwen")
    return path


@pytest.fixture(scope="module")
def released(folder):
    return load(folder)


@pytest.fixture(scope="module")
def square_images():
    return np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def test_size_and_tokens(case, released):
    assert (released.image_size, released.adapter.image_tokens) == MODELS[case]


def test_pictures_equal_those_of_the_image_processor(released, square_images):
    """The processor alone resizes, scales and cuts into patches."""
    ours = released.encode_images(square_images)["pixel_values"]
    theirs = released.image_processor(images=list(square_images), return_tensors="pt")["pixel_values"]
    assert ours.shape == theirs.reshape(ours.shape).shape
    assert torch.allclose(ours, theirs.reshape(ours.shape), rtol=0, atol=2e-6)


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
    image = np.zeros((1, 336, 476, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="resize them to 224x224 first"):
        released.batch([released.prompt_ids(instructions[0])], image)


def test_a_folder_is_checked_without_loading_weights(folder):
    check_folder(folder)
