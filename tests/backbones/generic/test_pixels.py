"""The map of pixels against the processors themselves."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.pixels import find_pixel_map
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.config.backbones import TinySize

SIDE = 32


@functools.cache
def adapter(model_type):
    model, processor = build_twin(model_type, TinySize(), ["drawer"], 64, seed=0)
    return GenericAdapter(model.config, processor, 64, model_type)


def images(count, side, seed=5):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "model_type", ["gemma3", "gemma4", "glm46v", "idefics3", "llava_onevision", "mllama", "qwen3_5"]
)
def test_the_inputs_are_those_of_the_processor(model_type):
    own = adapter(model_type)
    assert own.pixel_map is not None
    some = images(3, 64)
    expected = own._ask(some)
    found = own.process(torch.from_numpy(some), None)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0)


def test_images_of_another_size_go_through_the_processor():
    own = adapter("gemma3")
    some = images(2, 96)
    expected = own.processor.image_processor(images=list(some), return_tensors="pt")["pixel_values"]
    assert torch.equal(own.process(torch.from_numpy(some), None)["pixel_values"], expected)


def as_tensors(change, side=SIDE):
    def ask(given):
        values = [torch.from_numpy(np.asarray(change(Image.fromarray(each)))).float() for each in given]
        return {"pixel_values": torch.stack(values) / 100 - 1}

    return find_pixel_map(ask, side)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.rotate(90).crop((4, 4, 20, 28)),
    ],
)
def test_an_order_of_pixels_is_found(change):
    found = as_tensors(change)
    some = images(2, SIDE)
    expected = np.stack([np.asarray(change(Image.fromarray(each))) for each in some]).astype(np.float32)
    ours = found(torch.from_numpy(some))["pixel_values"]
    np.testing.assert_allclose(ours.numpy(), expected / 100 - 1, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((20, 20)),
        lambda image: image.filter(ImageFilter.BoxBlur(1)),
        lambda image: image.point(lambda value: value**2 // 255),
        lambda image: image.convert("L"),
    ],
)
def test_other_changes_have_no_map(change):
    assert as_tensors(change) is None


def test_an_input_that_depends_on_the_content_has_no_map():
    def ask(given):
        return {"count": torch.tensor([int((each > 100).sum()) for each in given])}

    assert find_pixel_map(ask, SIDE) is None


def test_inputs_that_are_no_tensors_have_no_map():
    assert find_pixel_map(lambda given: {"rows": [1] * len(given)}, SIDE) is None


def test_large_images_need_three_digits():
    side = 160  # more than 65,536 numbers
    found = as_tensors(lambda image: image, side)
    some = images(1, side)
    ours = found(torch.from_numpy(some))["pixel_values"]
    np.testing.assert_allclose(ours.numpy(), some.astype(np.float32) / 100 - 1, atol=1e-5)
